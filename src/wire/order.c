/*
 * Messages in and out of bytes. Decoding is the gate between processes that do not trust each other, so it checks every
 * field, also those that no receiver reads today, and copies out only what passed. Pure: the fuzzer lives on it.
 */
#include "wire/order.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define HEAD_SIZE offsetof(struct wire_message, order)

/* A body with hidden padding would send bytes that nobody wrote. */
static_assert(sizeof(struct wire_order) == 72 + 80, "no padding");
static_assert(sizeof(struct wire_observed_instance) == 28 + WIRE_KEY_SIZE, "no padding");
static_assert(sizeof(struct wire_answer) == 16 + WIRE_TEXT_MAX + WIRE_KEY_SIZE + 4 * WIRE_SERVICES_MAX + 8 +
                                                    WIRE_INSTANCES_MAX * sizeof(struct wire_observed_instance),
              "no padding");
static_assert(sizeof(struct wire_usage) <= sizeof(struct wire_evidence), "what is behind it is checked to be zero");
static_assert(sizeof(struct wire_files) <= sizeof(struct wire_evidence), "what is behind it is checked to be zero");
static_assert(sizeof(struct wire_snapshot) <= sizeof(struct wire_evidence), "what is behind it is checked to be zero");
static_assert(sizeof(struct wire_change) <= sizeof(struct wire_evidence), "what is behind it is checked to be zero");
static_assert(sizeof(struct wire_note) == 40 + WIRE_SHA256 + WIRE_KEY_SIZE + WIRE_TEXT_MAX, "no padding");

#define ERRNO_MAX 4095

enum {
	NEEDS_INSTANCE = 1,
	NEEDS_INCIDENT = 2,
	NEEDS_GATE = 4,
	TAKES_VICTIM = 8,
	TAKES_SUBJECT = 16,
	NEEDS_NUMBER = 32,
	NEEDS_TIME = 64
};

static const unsigned order_needs[ORDER_TYPE_MAX_] = {
        [ORDER_NET_OBSERVE] = 0,
        [ORDER_NET_TAP_ADD] = NEEDS_INSTANCE,
        [ORDER_NET_TAP_DEL] = NEEDS_INSTANCE,
        [ORDER_NET_GATE] = NEEDS_INSTANCE | NEEDS_GATE,
        [ORDER_NET_STEER] = TAKES_VICTIM,
        [ORDER_NET_CUT] = NEEDS_INSTANCE,
        [ORDER_NET_FLOWS] = NEEDS_INSTANCE | NEEDS_INCIDENT,
        [ORDER_VM_OBSERVE] = 0,
        [ORDER_VM_CREATE] = NEEDS_INSTANCE,
        [ORDER_VM_SUSPEND] = NEEDS_INSTANCE,
        [ORDER_VM_RESUME] = NEEDS_INSTANCE,
        [ORDER_VM_LINK] = NEEDS_INSTANCE,
        [ORDER_VM_UNCAP] = NEEDS_INSTANCE,
        [ORDER_VM_EVIDENCE] = NEEDS_INSTANCE | NEEDS_INCIDENT,
        [ORDER_VM_DESTROY] = NEEDS_INSTANCE,
        [ORDER_VM_CHANNEL] = NEEDS_INSTANCE,
        [ORDER_NET_CONTAIN] = TAKES_SUBJECT,
        [ORDER_VAULT_BACKUP] = 0,
        [ORDER_VAULT_ROLLBACK] = NEEDS_INCIDENT | NEEDS_TIME,
        [ORDER_VAULT_RESTORE] = NEEDS_NUMBER,
        [ORDER_VAULT_RETURN] = NEEDS_NUMBER,
        [ORDER_VM_RESET] = NEEDS_INSTANCE,
        [ORDER_VM_CAP] = NEEDS_INSTANCE,
        [ORDER_VM_REVOKE] = NEEDS_INSTANCE,
};

static bool all_zero(const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (((const uint8_t *)bytes)[i])
			return false;
	return true;
}

/* The text ends, and nothing is hidden behind its end. */
static bool text_ends(const char text[static WIRE_TEXT_MAX])
{
	size_t length = strnlen(text, WIRE_TEXT_MAX);
	return length < WIRE_TEXT_MAX && all_zero(text + length, WIRE_TEXT_MAX - length);
}

/* Each check returns NULL, or what is wrong. */
static const char *order_ranges_wrong(const struct wire_order *order)
{
	if (order->id == 0)
		return "an order without id";
	if (order->type == 0 || order->type >= ORDER_TYPE_MAX_)
		return "an unknown order type";
	if (order->service >= WIRE_SERVICES_MAX)
		return "a service out of range";
	if (order->variant >= WIRE_VARIANTS_MAX)
		return "a variant out of range";
	if (order->gate >= WIRE_GATE_MAX_)
		return "an unknown gate";
	if (order->flag > 1)
		return "a flag that is neither 0 nor 1";
	return order->zero ? "a spare field in use" : NULL;
}

static const char *order_wrong(const struct wire_message *message)
{
	const struct wire_order *order = &message->order;
	const char *wrong = order_ranges_wrong(order);
	if (wrong)
		return wrong;
	unsigned needs = order_needs[order->type];
	if ((needs & NEEDS_INSTANCE) && order->instance == 0)
		return "an order that names no instance";
	if ((needs & NEEDS_INCIDENT) && order->incident == 0)
		return "an order that names no incident";
	if ((needs & NEEDS_GATE) && order->gate == WIRE_GATE_NONE)
		return "an order that names no gate";
	if (!(needs & NEEDS_NUMBER) != (order->number == 0))
		return "a number where none belongs, or none where one does";
	if (!(needs & NEEDS_TIME) != (order->before_us == 0) || order->before_us < 0)
		return "a time where none belongs, or none where one does";
	if (needs & TAKES_SUBJECT)
		return wire_contain_wrong(&order->contain);
	if (!all_zero(&order->contain, sizeof(order->contain)))
		return "a containment in an order that takes none";
	if (order->victim && !(needs & TAKES_VICTIM))
		return "a victim in an order that takes none";
	if (order->victim && order->victim == order->instance)
		return "an instance that is its own victim";
	return NULL;
}

static bool index_or_unknown(uint32_t index, uint32_t max)
{
	return index < max || index == UINT32_MAX;
}

static const char *observed_wrong(const struct wire_answer *answer, size_t index)
{
	const struct wire_observed_instance *seen = &answer->observed[index];
	if (seen->instance == 0)
		return "an observed instance without number";
	if (!index_or_unknown(seen->service, WIRE_SERVICES_MAX) || !index_or_unknown(seen->variant, WIRE_VARIANTS_MAX))
		return "an observed service or variant out of range";
	if (seen->guest >= WIRE_GUEST_MAX_ || seen->gate >= WIRE_GATE_MAX_)
		return "an unknown state of a guest or gate";
	if (seen->outdated > 1)
		return "an observed guest that is more than outdated";
	if (seen->revoked > 1)
		return "an observed guest whose secrets are more than revoked";
	for (size_t i = 0; i < index; i++)
		if (answer->observed[i].instance == seen->instance)
			return "an instance observed twice";
	return NULL;
}

static const char *answer_wrong(const struct wire_message *message)
{
	const struct wire_answer *answer = &message->answer;
	if (answer->id == 0)
		return "an answer to no order";
	if (answer->status > 0 || answer->status < -ERRNO_MAX)
		return "a status that is no errno";
	if (!text_ends(answer->text))
		return "a text without end";
	if (answer->n_observed > WIRE_INSTANCES_MAX)
		return "more observed instances than there can be";
	for (size_t i = 0; i < answer->n_observed; i++) {
		const char *wrong = observed_wrong(answer, i);
		if (wrong)
			return wrong;
	}
	return answer->zero ? "a spare field in use" : NULL;
}

static bool is_about_service(uint32_t type)
{
	return type == NOTICE_PROFILE || type == NOTICE_VAULT || type == NOTICE_SNAPSHOT || type == NOTICE_CHANGE;
}

static bool is_about_guest(uint32_t type)
{
	return type != NOTICE_READY && type != NOTICE_TROUBLE && type != NOTICE_MEDDLED && type != NOTICE_TARPIT &&
	       type != NOTICE_RESCUE && (type < NOTICE_FILE_BAD || type > NOTICE_FILE_COUNTS) &&
	       type != NOTICE_EVIDENCE_DROPPED && !is_about_service(type);
}

/* How much of the counters a notice has. */
static size_t counted_size(uint32_t type)
{
	return type == NOTICE_GUEST_USAGE        ? sizeof(struct wire_usage)
	       : type == NOTICE_TARPIT           ? sizeof(struct wire_tarpit)
	       : type == NOTICE_FILE_COUNTS      ? sizeof(struct wire_files)
	       : type == NOTICE_EVIDENCE_TAKEN   ? sizeof(struct wire_evidence)
	       : type == NOTICE_EVIDENCE_DROPPED ? sizeof(((struct wire_evidence *)0)->incident)
	       : type == NOTICE_SNAPSHOT         ? sizeof(struct wire_snapshot)
	       : type == NOTICE_CHANGE           ? sizeof(struct wire_change)
	                                         : 0;
}

/* It will stand in a path that is shown to root. */
static bool is_file_name(const char *text)
{
	size_t length = strlen(text);
	return length > 0 && length < WIRE_FILE_MAX && text[0] >= 'a' && text[0] <= 'z' &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-") == length;
}

static const char *evidence_wrong(const struct wire_note *note)
{
	if (note->type != NOTICE_EVIDENCE_TAKEN && note->type != NOTICE_EVIDENCE_DROPPED)
		return NULL;
	if (note->evidence.incident == 0)
		return "evidence of no incident";
	if (note->evidence.incident > INT64_MAX || note->evidence.bytes > INT64_MAX)
		return "evidence with a number that nobody gives";
	if (note->type == NOTICE_EVIDENCE_TAKEN && !is_file_name(note->text))
		return "evidence in a file without a plain name";
	if (note->type == NOTICE_EVIDENCE_DROPPED && (note->instance || note->text[0]))
		return "evidence that is gone, of somebody or with a name";
	return NULL;
}

static const char *vault_wrong(const struct wire_note *note)
{
	const struct wire_snapshot *s = &note->snapshot;
	const struct wire_change *c = &note->change;
	if (note->type == NOTICE_SNAPSHOT && (s->number == 0 || s->number > INT64_MAX || s->state >= WIRE_SNAPSHOT_MAX_))
		return "a snapshot without number, or in no known state";
	if (note->type == NOTICE_SNAPSHOT && (s->begun_us <= 0 || s->ended_us < s->begun_us || s->bytes > INT64_MAX))
		return "a snapshot that ended before it began";
	if (note->type == NOTICE_CHANGE && (c->number == 0 || c->number > INT64_MAX || c->kind >= WIRE_CHANGE_MAX_ || c->zero))
		return "a change without number, or of no known kind";
	if (note->type == NOTICE_CHANGE && (c->incident > INT64_MAX || c->bytes > INT64_MAX || !note->text[0]))
		return "a change of nothing";
	return NULL;
}

static const char *note_wrong(const struct wire_message *message)
{
	const struct wire_note *note = &message->note;
	/* The engine makes NOTICE_LINK_RESTARTED for itself; from a peer it would be a lie. */
	if (note->type == 0 || note->type >= NOTICE_MAX_ || note->type == NOTICE_LINK_RESTARTED)
		return "an unknown notice";
	if (is_about_guest(note->type) && note->instance == 0)
		return "a notice about no instance";
	if (note->time_us < 0)
		return "a time before the start";
	if (note->accelerator > 2)
		return "an unknown accelerator";
	if (!text_ends(note->text))
		return "a text without end";
	size_t counted = counted_size(note->type);
	if (!all_zero((const uint8_t *)&note->evidence + counted, sizeof(note->evidence) - counted))
		return "counters that belong to another notice";
	if (note->type != NOTICE_GUEST_CHANNEL && !all_zero(note->key, sizeof(note->key)))
		return "a key that belongs to another notice";
	if (!is_about_service(note->type) && note->service)
		return "a service in a notice that is about none";
	if (note->service >= WIRE_SERVICES_MAX)
		return "a service out of range";
	const char *wrong = evidence_wrong(note);
	return wrong ? wrong : vault_wrong(note);
}

static const char *link_wrong(const struct wire_message *message)
{
	if (message->link.role >= WIRE_ROLE_MAX_)
		return "an unknown role";
	return message->link.zero ? "a spare field in use" : NULL;
}

static const char *progress_wrong(unused_arg const struct wire_message *message)
{
	return NULL; /* any count is a count */
}

static const char *replace_wrong(const struct wire_message *message)
{
	if (message->replace.role < WIRE_NET || message->replace.role >= WIRE_ROLE_MAX_)
		return "a role that is no actuator";
	return message->replace.zero ? "a spare field in use" : NULL;
}

/* An answer is cut behind what it has observed: most have observed nothing, and a link holds only so many bytes. */
static size_t answer_size(const struct wire_answer *answer)
{
	return HEAD_SIZE + offsetof(struct wire_answer, observed) + answer->n_observed * sizeof(answer->observed[0]);
}

static const struct {
	size_t size; /* an answer's is the largest */
	const char *(*wrong)(const struct wire_message *message);
} kinds[WIRE_KIND_MAX_] = {
        [WIRE_ORDER] = {HEAD_SIZE + sizeof(struct wire_order), order_wrong},
        [WIRE_ANSWER] = {HEAD_SIZE + sizeof(struct wire_answer), answer_wrong},
        [WIRE_NOTICE] = {HEAD_SIZE + sizeof(struct wire_note), note_wrong},
        [WIRE_LINK] = {HEAD_SIZE + sizeof(struct wire_link), link_wrong},
        [WIRE_PROGRESS] = {HEAD_SIZE + sizeof(struct wire_progress), progress_wrong},
        [WIRE_REPLACE] = {HEAD_SIZE + sizeof(struct wire_replace), replace_wrong},
};

/* Of a message whose count of observed instances may be anything yet. */
static size_t message_size(const struct wire_message *message)
{
	bool cut = message->kind == WIRE_ANSWER && message->answer.n_observed <= WIRE_INSTANCES_MAX;
	return cut ? answer_size(&message->answer) : kinds[message->kind].size;
}

int wire_decode(const void *packet, size_t size, struct wire_message *ret_message, struct err *err)
{
	struct wire_message message = {0};
	if (size < HEAD_SIZE || size > sizeof(message))
		return err_set(err, -EBADMSG, "the peer sent a message of %zu bytes, which no kind has", size);
	memcpy(&message, packet, size);
	if (message.version != WIRE_VERSION)
		return err_set(err, -EBADMSG, "the peer speaks version %u, this is version %d: restart koboshid after an update",
		               message.version, WIRE_VERSION);
	if (message.kind == 0 || message.kind >= WIRE_KIND_MAX_)
		return err_set(err, -EBADMSG, "the peer sent a message of the unknown kind %u", message.kind);
	if (size != message_size(&message) || message.size != size)
		return err_set(err, -EBADMSG, "the peer sent %zu bytes (says %u) of kind %u, which has %zu", size, message.size,
		               message.kind, message_size(&message));
	const char *wrong = kinds[message.kind].wrong(&message);
	if (wrong)
		return err_set(err, -EBADMSG, "the peer sent %s", wrong);
	memcpy(ret_message, &message, sizeof(message));
	return 0;
}

/* The end is written too: a text that fills its field is cut. */
static void text_seal(char text[static WIRE_TEXT_MAX])
{
	text[WIRE_TEXT_MAX - 1] = '\0';
	size_t length = strlen(text);
	memset(text + length, 0, WIRE_TEXT_MAX - length);
}

size_t wire_encode(struct wire_message *message)
{
	assert(message->kind > 0 && message->kind < WIRE_KIND_MAX_);
	assert(message->kind != WIRE_ANSWER || message->answer.n_observed <= WIRE_INSTANCES_MAX);
	if (message->kind == WIRE_ANSWER)
		text_seal(message->answer.text);
	else if (message->kind == WIRE_NOTICE)
		text_seal(message->note.text);
	message->version = WIRE_VERSION;
	message->size = (uint32_t)message_size(message);
	return message->size;
}
