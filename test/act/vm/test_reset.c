/* ORDER_VM_RESET and ORDER_VM_CAP against libvirt's test driver. What a reset does to a real guest: guest.py, test/guest. */
#include "place.h"

#include "act/vm/domain.h"
#include "act/vm/folder.h"
#include "act/vm/orders.h"
#include "act/vm/session.h"
#include "lib/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char folder[] = "/tmp/kbresetXXXXXX";
static struct outbox *outbox;
static struct vm vm;

static int setup(void **state unused_arg)
{
	struct conf conf = {.n_services = 1, .boot_share = 50};
	if (place_make(folder, &conf) < 0)
		return -1;
	outbox = outbox_new();
	return vm_init(&vm, &conf, outbox, NULL) < 0 || session_open(&vm, NULL) < 0 ? -1 : 0;
}

static int teardown(void **state unused_arg)
{
	vm_done(&vm);
	outbox_free(outbox);
	return place_remove(folder);
}

static virDomainPtr guest_make(uint32_t number)
{
	char name[16];
	snprintf(name, sizeof(name), "kb-%u", number);
	const struct domain_recipe recipe = {.name = name, .virt = DOMAIN_TEST, .memory_mib = 64, .cpus = 1};
	struct folder_record record = {.service = "sensor", .variant = "amber"};
	auto_free char *xml = domain_xml(&recipe);
	virDomainPtr domain = virDomainCreateXML(atomic_load(&vm.conn), xml, 0);
	assert_non_null(domain);
	memset(record.key, 1, sizeof(record.key));
	memset(record.agent_key, 2, sizeof(record.agent_key));
	assert_int_equal(folder_make(&vm, number, NULL), 0);
	assert_int_equal(folder_record_write(&vm, number, &record, NULL), 0);
	return domain;
}

static int order(enum order_type type, uint32_t instance, struct wire_answer *answer)
{
	const struct wire_order asked = {.id = 42, .type = type, .instance = instance, .incident = 3};
	vm_order_carry(&vm, &asked, answer);
	assert_true(strlen(answer->text) > 0);
	return answer->status;
}

static void a_guest_that_boots_anew_has_another_key_for_its_agent(void **state unused_arg)
{
	struct wire_answer answer;
	struct folder_record record;
	uint8_t first[WIRE_KEY_SIZE], second[WIRE_KEY_SIZE];
	assert_int_equal(order(ORDER_VM_RESET, 9, &answer), -ENOENT);
	assert_int_equal(order(ORDER_VM_CAP, 9, &answer), -ENOENT);
	virDomainPtr domain = guest_make(9);
	assert_int_equal(order(ORDER_VM_CAP, 9, &answer), 0);
	assert_int_equal(order(ORDER_VM_RESET, 9, &answer), 0);
	assert_string_equal(answer.text, "kb-9 boots anew");
	assert_int_equal(folder_agent_key(&vm, 9, first, NULL), 0);
	assert_int_not_equal(first[0] == 2 && first[31] == 2, 1);
	assert_int_equal(virDomainSuspend(domain), 0);
	assert_int_equal(order(ORDER_VM_RESET, 9, &answer), 0);
	assert_int_equal(vm_domain_state(domain), WIRE_GUEST_RUNNING);
	assert_int_equal(folder_agent_key(&vm, 9, second, NULL), 0);
	assert_memory_not_equal(first, second, sizeof(first));
	assert_int_equal(folder_record_read(&vm, 9, &record, NULL), 0); /* its own stays: it is in its seed */
	assert_int_equal(record.key[31], 1);
	virDomainFree(domain);
	assert_int_equal(order(ORDER_VM_DESTROY, 9, &answer), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_guest_that_boots_anew_has_another_key_for_its_agent)};
	return cmocka_run_group_tests_name("vm reset", tests, setup, teardown);
}
