/* Words for logs, ledger and API. The ledger stores lives and roles by these names: do not rename without a migration. */
#include "plan/plan.h"

#include <string.h>

#define NAME_FUNCTION(function, type, max, ...)                                                                                  \
	static const char *const function##_table[max] = {__VA_ARGS__};                                                          \
	const char *function(type value)                                                                                         \
	{                                                                                                                        \
		return (unsigned)value < max && function##_table[value] ? function##_table[value] : "?";                         \
	}

NAME_FUNCTION(
        plan_role_name, enum plan_role,
        PLAN_ROLE_MAX_, [PLAN_ROLE_NONE] = "none", [PLAN_ACTIVE] = "active", [PLAN_STANDBY] = "standby", [PLAN_SPARE] = "spare")
NAME_FUNCTION(plan_verdict_name, enum plan_verdict, PLAN_VERDICT_MAX_, [PLAN_UNKNOWN] = "unknown", [PLAN_HEALTHY] = "healthy",
              [PLAN_FAILED] = "failed", [PLAN_COMPROMISED] = "compromised")
NAME_FUNCTION(
        plan_phase_name, enum plan_phase,
        PLAN_PHASE_MAX_, [PLAN_ABSORB] = "absorb", [PLAN_RECOVER] = "recover", [PLAN_ADAPT] = "adapt", [PLAN_CLOSED] = "closed")
NAME_FUNCTION(plan_order_name, enum plan_order_type,
              PLAN_ORDER_MAX_, [PLAN_DO_TAP_ADD] = "tap-add", [PLAN_DO_TAP_DEL] = "tap-del", [PLAN_DO_FENCE] = "fence",
              [PLAN_DO_OPEN] = "open", [PLAN_DO_LOCK] = "lock", [PLAN_DO_STEER] = "steer", [PLAN_DO_CUT] = "cut",
              [PLAN_DO_FLOWS] = "flows", [PLAN_DO_CREATE] = "create", [PLAN_DO_UNCAP] = "uncap", [PLAN_DO_SUSPEND] = "suspend",
              [PLAN_DO_RESUME] = "resume", [PLAN_DO_LINK_DOWN] = "link-down", [PLAN_DO_RECORD] = "record",
              [PLAN_DO_DESTROY] = "destroy", [PLAN_DO_CAP] = "cap", [PLAN_DO_RESTART] = "restart", [PLAN_DO_RESET] = "reset",
              [PLAN_DO_STOP_SERVICE] = "stop-service", [PLAN_DO_ROLLBACK] = "rollback", [PLAN_DO_REVOKE] = "revoke")
NAME_FUNCTION(plan_rung_name, enum plan_rung, PLAN_RUNG_MAX_, [PLAN_RUNG_NONE] = "none", [PLAN_RUNG_RESTART] = "restart",
              [PLAN_RUNG_REBOOT] = "reboot", [PLAN_RUNG_REBUILD] = "rebuild", [PLAN_RUNG_REPLACE] = "replace")
NAME_FUNCTION(plan_life_name, enum plan_life,
              PLAN_LIFE_MAX_, [PLAN_LIFE_NONE] = "none", [PLAN_LIFE_TAP] = "tap", [PLAN_LIFE_CREATE] = "create",
              [PLAN_LIFE_BOOTING] = "booting", [PLAN_LIFE_UNCAPPING] = "uncapping", [PLAN_LIFE_OPENING] = "opening",
              [PLAN_LIFE_READY] = "ready", [PLAN_LIFE_PAUSING] = "pausing", [PLAN_LIFE_PAUSED] = "paused",
              [PLAN_LIFE_RESUMING] = "resuming", [PLAN_LIFE_WAKING] = "waking", [PLAN_LIFE_DOOMED] = "doomed",
              [PLAN_LIFE_ASIDE] = "aside", [PLAN_LIFE_RESTARTING] = "restarting", [PLAN_LIFE_RESTARTED] = "restarted",
              [PLAN_LIFE_RESETTING] = "resetting", [PLAN_LIFE_REBOOTING] = "rebooting", [PLAN_LIFE_LOCKING] = "locking",
              [PLAN_LIFE_LOCKED] = "locked", [PLAN_LIFE_STOPPING] = "stopping", [PLAN_LIFE_STOPPED] = "stopped",
              [PLAN_LIFE_STARTING] = "starting", [PLAN_LIFE_HOLDING] = "holding", [PLAN_LIFE_HELD] = "held",
              [PLAN_LIFE_STEERING] = "steering", [PLAN_LIFE_FENCING] = "fencing", [PLAN_LIFE_UNLINKING] = "unlinking",
              [PLAN_LIFE_FREEZING] = "freezing", [PLAN_LIFE_ROLLING] = "rolling-back", [PLAN_LIFE_TRACING] = "tracing",
              [PLAN_LIFE_RECORDING] = "recording", [PLAN_LIFE_DESTROYING] = "destroying", [PLAN_LIFE_REMOVING] = "removing")
NAME_FUNCTION(plan_step_name, enum plan_step,
              PLAN_STEP_MAX_, [PLAN_STEP_DETECTED] = "detected", [PLAN_STEP_DAMPED] = "damped", [PLAN_STEP_STEERED] = "steered",
              [PLAN_STEP_UNSTEERABLE] = "no-alternative", [PLAN_STEP_FENCED] = "fenced", [PLAN_STEP_REVOKED] = "revoked",
              [PLAN_STEP_LINK_DOWN] = "link-down", [PLAN_STEP_FROZEN] = "frozen", [PLAN_STEP_ROLLED_BACK] = "rolled-back",
              [PLAN_STEP_NOT_ROLLED_BACK] = "not-rolled-back", [PLAN_STEP_RECORDED] = "evidence",
              [PLAN_STEP_SUSPECTED] = "suspected", [PLAN_STEP_WAKING] = "waking", [PLAN_STEP_PROVEN] = "proven",
              [PLAN_STEP_STANDBY] = "standby", [PLAN_STEP_CHOSEN] = "chosen", [PLAN_STEP_BUILDING] = "building",
              [PLAN_STEP_SPARE] = "spare", [PLAN_STEP_ACTIVE] = "active", [PLAN_STEP_REMOVED] = "removed",
              [PLAN_STEP_RETIRED] = "retired", [PLAN_STEP_WORN] = "worn", [PLAN_STEP_OUTDATED] = "outdated",
              [PLAN_STEP_ROTATING] = "rotating", [PLAN_STEP_CLEARED] = "cleared", [PLAN_STEP_GAVE_WAY] = "gave-way",
              [PLAN_STEP_CROWDED] = "crowded", [PLAN_STEP_LOCKED] = "locked", [PLAN_STEP_HELD] = "held",
              [PLAN_STEP_SERVICE_STOPPED] = "service-stopped", [PLAN_STEP_SERVICE_NOT_STOPPED] = "service-not-stopped",
              [PLAN_STEP_BRAKED] = "braked", [PLAN_STEP_UNBRAKED] = "unbraked", [PLAN_STEP_DRAINED] = "drained",
              [PLAN_STEP_REFUSED_ORDER] = "order-failed", [PLAN_STEP_LATE] = "order-late", [PLAN_STEP_GIVEN_UP] = "given-up",
              [PLAN_STEP_RESUMED] = "resumed", [PLAN_STEP_CLOSED] = "closed", [PLAN_STEP_MENDING] = "mending",
              [PLAN_STEP_MENDED] = "mended", [PLAN_STEP_UNMENDED] = "not-mended", [PLAN_STEP_TAUGHT] = "taught")

enum plan_life plan_life_named(const char *name)
{
	for (unsigned life = 0; life < PLAN_LIFE_MAX_; life++)
		if (strcmp(plan_life_name_table[life], name) == 0)
			return (enum plan_life)life;
	return PLAN_LIFE_NONE;
}

enum plan_rung plan_rung_named(const char *name)
{
	for (unsigned rung = 0; rung < PLAN_RUNG_MAX_; rung++)
		if (strcmp(plan_rung_name_table[rung], name) == 0)
			return (enum plan_rung)rung;
	return PLAN_RUNG_NONE;
}

enum plan_role plan_role_named(const char *name)
{
	for (unsigned role = 0; role < PLAN_ROLE_MAX_; role++)
		if (strcmp(plan_role_name_table[role], name) == 0)
			return (enum plan_role)role;
	return PLAN_ROLE_NONE;
}
