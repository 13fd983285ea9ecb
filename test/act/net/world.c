/* See world.h. Kept apart from the tests so that these can be read one by one. */
#include "world.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

const char *world_program;

int world_begin(int argc, char **argv)
{
	if (getuid() != 0) {
		puts("needs root for network namespaces: skipped");
		return 77;
	}
	world_program = argc > 1 ? argv[1] : NULL;
	return world_program ? 0 : 2;
}

struct wire_answer fine(struct world *w, struct wire_order order)
{
	struct wire_answer answer = lab_order(&w->lab, order);
	if (answer.status != 0)
		print_error("%s: %s\n", order_type_name((enum order_type)order.type), answer.text);
	assert_int_equal(answer.status, 0);
	return answer;
}

void steer(struct world *w, uint32_t to, uint32_t victim)
{
	fine(w, (struct wire_order){.type = ORDER_NET_STEER, .instance = to, .victim = victim});
}

void gate(struct world *w, uint32_t instance, enum wire_gate which)
{
	fine(w, (struct wire_order){.type = ORDER_NET_GATE, .instance = instance, .gate = which});
}

void configure(struct world *w, const char *more)
{
	char path[96];
	assert_int_equal(lab_command("mkdir -p %s.d", w->lab.config), 0);
	snprintf(path, sizeof(path), "%s.d/more.yaml", w->lab.config);
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	fputs(more, out);
	fclose(out);
	lab_kill(&w->lab);
	lab_start(&w->lab, world_program);
}

static void world_fill(struct world *w)
{
	for (uint32_t n = 1; n <= 3; n++) {
		conf_instance(&w->lab.conf, n, &w->i[n]);
		inet_ntop(AF_INET, &w->i[n].address4, w->address4[n], INET_ADDRSTRLEN);
		inet_ntop(AF_INET6, &w->i[n].address6, w->address6[n], INET6_ADDRSTRLEN);
		w->web[n] = lab_listen(&w->lab, LAB_GUEST1 + n - 1, 80);
		w->name[n] = lab_datagrams(&w->lab, LAB_GUEST1 + n - 1, 53);
	}
	inet_ntop(AF_INET, &w->i[1].gateway4, w->gateway4, INET_ADDRSTRLEN);
	inet_ntop(AF_INET6, &w->i[1].gateway6, w->gateway6, INET6_ADDRSTRLEN);
}

static int world_make(void **state, bool ranges)
{
	static struct world w;
	w = (struct world){0};
	*state = &w;
	lab_make(&w.lab, ranges);
	for (uint32_t n = 1; n <= 3; n++)
		lab_guest(&w.lab, n);
	world_fill(&w);
	lab_start(&w.lab, world_program);
	for (uint32_t n = 1; n <= 3; n++)
		fine(&w, (struct wire_order){.type = ORDER_NET_TAP_ADD, .instance = n});
	return 0;
}

int world_setup(void **state)
{
	return world_make(state, true);
}

int world_setup_hidden(void **state)
{
	return world_make(state, false);
}

int world_teardown(void **state)
{
	struct world *w = *state;
	for (int n = 1; n <= 3; n++) {
		close(w->web[n]);
		close(w->name[n]);
	}
	close(w->lab.engine);
	close(w->lab.log);
	close(w->lab.flows);
	close(w->lab.supervisor);
	lab_end(&w->lab);
	return 0;
}

/* Client asks by TCP; the instance that is reached (0: none). `ret_client`, `ret_server`: the open ends, else closed. */
uint32_t reached(struct world *w, const char *to, int *ret_client, int *ret_server, char *ret_peer)
{
	int client = lab_connect(&w->lab, LAB_CLIENT, to, 80, NULL);
	uint32_t found = 0;
	int server = -1;
	if (lab_outcome(client, SOON) == 0)
		for (uint32_t n = 1; n <= 3 && found == 0; n++) {
			server = lab_accept(w->web[n], n == 3 ? SOON : 0, ret_peer);
			found = server >= 0 ? n : 0;
		}
	if (ret_client)
		*ret_client = client;
	else
		close(client);
	if (ret_server)
		*ret_server = server;
	else if (server >= 0)
		close(server);
	return found;
}

uint32_t reached_udp(struct world *w, const char *to)
{
	char byte;
	lab_enter(&w->lab, LAB_CLIENT);
	bool six = strchr(to, ':');
	int client = socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(53)};
	struct sockaddr_in6 sixes = {.sin6_family = AF_INET6, .sin6_port = htons(53)};
	inet_pton(six ? AF_INET6 : AF_INET, to, six ? (void *)&sixes.sin6_addr : (void *)&four.sin_addr);
	assert_int_equal(sendto(client, "?", 1, 0, six ? (void *)&sixes : (void *)&four, six ? sizeof(sixes) : sizeof(four)), 1);
	uint32_t found = 0;
	for (int wait = 0; wait < SOON && found == 0; wait += 30)
		for (uint32_t n = 1; n <= 3 && found == 0; n++)
			found = lab_readable(w->name[n], 10) ? n : 0;
	if (found) {
		struct sockaddr_in6 peer;
		socklen_t size = sizeof(peer);
		assert_int_equal(recvfrom(w->name[found], &byte, 1, 0, (void *)&peer, &size), 1);
		assert_int_equal(sendto(w->name[found], "!", 1, 0, (void *)&peer, size), 1);
		assert_true(lab_readable(client, SOON)); /* and the answer comes back */
	}
	close(client);
	return found;
}

void assert_passes(int from, int to)
{
	char byte = 0;
	assert_int_equal(send(from, "x", 1, MSG_NOSIGNAL), 1);
	assert_true(lab_readable(to, SOON));
	assert_int_equal(recv(to, &byte, 1, 0), 1);
}

void assert_target(struct world *w, uint32_t target)
{
	assert_int_equal(fine(w, (struct wire_order){.type = ORDER_NET_OBSERVE}).target[0], target);
}

enum wire_gate gate_of(struct world *w, uint32_t instance)
{
	struct wire_answer answer = fine(w, (struct wire_order){.type = ORDER_NET_OBSERVE});
	for (uint32_t n = 0; n < answer.n_observed; n++)
		if (answer.observed[n].instance == instance)
			return (enum wire_gate)answer.observed[n].gate;
	return WIRE_GATE_NONE;
}
