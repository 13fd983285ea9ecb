/*
 * A victim's flows as a text that people and tools read: STATE_DIR/evidence/INCIDENT/kb-INSTANCE.flows, for root only, beside
 * what the vm actuator keeps of the same guest (which also writes the hashes, since it comes last).
 */
#include "act/net/net.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define EVIDENCE_FLOWS_MAX (1u << 20)

/* Opens a folder below `at`, made if need be; a link in its place is refused. */
static int folder_open(int at, const char *name, struct err *err)
{
	if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno, "cannot make the evidence folder %s: %s", name, strerror(errno));
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 ? fd : err_set(err, -errno, "cannot open the evidence folder %s: %s", name, strerror(errno));
}

/* Without a folder there is no evidence; the order will say so. */
void evidence_open(struct net *net)
{
	auto_close int state = open(net->conf.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	net->evidence = state < 0 ? -1 : folder_open(state, "evidence", NULL);
}

static int incident_open(const struct net *net, uint64_t incident, struct err *err)
{
	char name[32];
	snprintf(name, sizeof(name), "%llu", (unsigned long long)incident);
	if (net->evidence < 0)
		return err_set(err, -ENOENT, "there is no folder %s/evidence", net->conf.state_dir);
	return folder_open(net->evidence, name, err);
}

static size_t limit(const struct conf *conf)
{
	return conf->evidence_bytes < EVIDENCE_FLOWS_MAX ? (size_t)conf->evidence_bytes : EVIDENCE_FLOWS_MAX;
}

static int flows_write(struct net *net, FILE *out, const struct conf_instance *instance, size_t *ret_flows, struct err *err)
{
	int r = conntrack_write(net, instance, out, limit(&net->conf), ret_flows, err);
	if (r == 0 && (fflush(out) != 0 || fsync(fileno(out)) < 0))
		r = err_set(err, -errno, "cannot write the flows of kb%u: %s", instance->number, strerror(errno));
	return r;
}

int evidence_flows(struct net *net, uint64_t incident, const struct conf_instance *instance, size_t *ret_flows, struct err *err)
{
	if (net->conf.evidence_bytes == 0)
		return err_set(err, -EOPNOTSUPP, "evidence is switched off (limits: evidence 0)");
	auto_close int folder = incident_open(net, incident, err);
	if (folder < 0)
		return folder;
	char name[64], part[80];
	snprintf(name, sizeof(name), "kb-%u.flows", instance->number);
	snprintf(part, sizeof(part), "%s.part", name);
	int fd = openat(folder, part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!out)
		return err_set(err, -errno, "cannot write %s: %s", part, strerror(errno));
	int r = flows_write(net, out, instance, ret_flows, err);
	fclose(out);
	if (r == 0 && renameat(folder, part, folder, name) < 0)
		r = err_set(err, -errno, "cannot rename %s: %s", part, strerror(errno));
	if (r < 0)
		unlinkat(folder, part, 0);
	return r;
}
