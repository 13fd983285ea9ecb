/*
 * libvirt's QEMU driver looks up its compiled-in default user ("libvirt-qemu" on Debian) before it reads our qemu.conf, and
 * refuses to start when there is none; only the package with its daemons makes that user, and we need no daemon. So the two
 * lookups that libvirt uses come by here first: a name that this machine knows is answered as always, an unknown default is
 * answered as root, which is what qemu.conf then says anyway. Linked into the program itself, where the dynamic linker looks
 * first.
 */
#include <dlfcn.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>

typedef int user_lookup(const char *name, struct passwd *entry, char *buffer, size_t size, struct passwd **result);
typedef int group_lookup(const char *name, struct group *entry, char *buffer, size_t size, struct group **result);

static int is_default(const char *name)
{
	return strcmp(name, "libvirt-qemu") == 0 || strcmp(name, "qemu") == 0;
}

int getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t size, struct passwd **result)
{
	user_lookup *next = __extension__(user_lookup *) dlsym(RTLD_NEXT, "getpwnam_r");
	int r = next(name, entry, buffer, size, result);
	return r == 0 && !*result && is_default(name) ? next("root", entry, buffer, size, result) : r;
}

int getgrnam_r(const char *name, struct group *entry, char *buffer, size_t size, struct group **result)
{
	group_lookup *next = __extension__(group_lookup *) dlsym(RTLD_NEXT, "getgrnam_r");
	int r = next(name, entry, buffer, size, result);
	return r == 0 && !*result && is_default(name) ? next("root", entry, buffer, size, result) : r;
}
