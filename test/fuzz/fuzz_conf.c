/* The configuration's reader over any bytes: it takes them or says where and why not; what it takes keeps its limits. */
#include "conf/conf.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_service(const struct conf_service *s)
{
	assert(s->name[0] && memchr(s->name, '\0', sizeof(s->name)));
	assert(s->has_address4 || s->has_address6);
	assert(s->n_ports >= 1 && s->n_ports <= CONF_PORTS_MAX);
	assert(s->n_variants >= 1 && s->n_variants <= CONF_VARIANTS_MAX);
	assert(s->n_clients4 + s->n_clients6 <= CONF_RANGES_MAX);
	assert(s->probe.n_content <= CONF_CONTENT_MAX);
	assert(s->probe.port && s->probe.failures >= 1 && s->probe.failures <= s->probe.window && s->probe.window <= 32);
	assert(s->standby < CONF_INSTANCES_MAX && s->spare < CONF_INSTANCES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct conf conf;
	struct conf_instance instance;
	struct err err = {0};
	int e = conf_parse("f", (const char *)bytes, size, &conf, &err);
	assert(e == 0 || (e == err.code && strncmp(err.text, "f:", 2) == 0 && !strchr(err.text, '\n')));
	if (e < 0)
		return 0;
	assert(conf.n_services >= 1 && conf.n_services <= CONF_SERVICES_MAX);
	for (size_t i = 0; i < conf.n_services; i++)
		check_service(&conf.services[i]);
	conf_instance(&conf, 1, &instance);
	return 0;
}
