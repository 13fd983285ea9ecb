/* The senses that all services share: packets at the taps, flows, links. What they find goes to the service it is about. */
#include "engine/engine.h"

#include "lib/attr.h"

#include <stdio.h>
#include <unistd.h>

static void on_report(void *arg, const struct evidence *evidence, const char *detail)
{
	struct engine *e = arg;
	struct engine_service *s = service_of_instance(e, evidence->instance);
	if (evidence->finding == FINDING_TOUCHED) {
		e->decoys.touches++;
		e->decoys.time_us = evidence->time_us;
		snprintf(e->decoys.text, sizeof(e->decoys.text), "kb-%u %s", evidence->instance, detail);
	}
	if (s)
		service_found(s, evidence, detail);
}

static void wire_watch(struct engine *e, int fd)
{
	sense_wire_free(e->wire);
	e->wire = sense_wire_new(e->loop, fd, 200, on_report, e);
	sense_wire_tell(e->wire, e->flows);
	for (size_t i = 0; i < e->n_services; i++)
		for (size_t k = 0; k < PLAN_INSTANCES_MAX; k++)
			if (e->services[i].instances[k].number)
				sense_wire_add(e->wire, &e->services[i].instances[k].address, &e->services[i].conf->probe);
}

void senses_open(struct engine *e, int links)
{
	e->carrier = sense_carrier_new(e->loop, links, on_report, e);
	e->flows = sense_flows_new(e->loop, on_report, e);
	e->flows_fd = -1;
}

void senses_wire(struct engine *e, int packets, int flows)
{
	wire_watch(e, packets);
	if (e->flows_fd >= 0)
		close(e->flows_fd);
	e->flows_fd = flows;
}

/* What is there already is told as a list, which says nothing as long as nobody knows the instances. */
void senses_pulse(struct engine *e)
{
	if (e->flows_fd >= 0 && e->world_known)
		sense_flows_read(e->flows, take_fd(&e->flows_fd));
}
