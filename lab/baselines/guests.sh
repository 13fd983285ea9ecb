# Common to the baselines with real guests: the hypervisor, what a guest is made of, and how it is told what to run. Sourced by bash,
# after common.sh.
#
# The guests are Koboshi's own images, byte for byte, with the machine that koboshi-vm gives them (src/act/vm/domain.c), but under
# libvirt's usual daemon and on a bridge. Koboshi's agent does not run in them: the seed puts a script in its place, which starts what the
# baseline runs inside, from a second read-only disk.
# shellcheck shell=bash disable=SC2154 # of common.sh

libvirt=$base/guests/libvirt # its sockets
images=${KOBOSHI_CACHE:-/var/cache/koboshi}
declare -A variant=([g1]=amber [g2]=birch [g3]=cedar)

# guest_number NAME: g1 is 1; from it follow the address, 192.0.2.1N, and the place of the lab's way in, as koboshi-vm has it.
guest_number() { echo "${1#g}"; }

virsh() { (tree_exec host virsh -q -c "qemu:///system?socket=/host$libvirt/libvirt-sock" "$@"); }

libvirtd_run() {
	# What libvirt keeps is of this run only. Its log says why a guest did not start.
	tree_exec host sh -c '
		mount --rbind /host/sys /sys && mount -t tmpfs none /var/lib/libvirt && mount -t tmpfs none /var/log/libvirt &&
			mount -t tmpfs none /etc/libvirt && mkdir -p /run/baseline/state /run/libvirt && mount --bind /run/baseline/state /run/libvirt && cp /run/baseline/qemu.conf /etc/libvirt/ || exit
		exec libvirtd -f /run/baseline/libvirtd.conf -p /run/libvirtd.pid'
}

hypervisor_start() {
	local variant end=$((SECONDS + 60))
	for variant in "${variant[@]}"; do
		[ -e "$images/$variant/manifest.json" ] || die "variant $variant is not in $images; run 'make images'"
	done
	mkdir "$libvirt"
	cat > "$run/libvirtd.conf" <<- END
		unix_sock_dir = "/host$libvirt"
		auth_unix_ro = "none"
		auth_unix_rw = "none"
		log_outputs = "3:stderr"
	END
	cat > "$run/qemu.conf" <<- END
		user = "root"
		group = "root"
		dynamic_ownership = 0
		remember_owner = 0
		security_driver = "none"
		cgroup_controllers = []
		namespaces = []
		stdio_handler = "file"
	END
	spawn libvirtd libvirtd_run
	until virsh list > /dev/null 2>&1; do
		all_live
		[ $SECONDS -lt $end ] || die "libvirt does not answer.$(last_words)"
		sleep 0.1
	done
}

# Guests outlive libvirt, so they are ended themselves, by the process number that libvirt wrote down; never another's.
guest_end() {
	local pid=''
	pid=$(cat "$run/state/qemu/$1.pid" 2> /dev/null) || return 0
	! tr '\0' '\n' < "/proc/$pid/cmdline" 2> /dev/null | grep -q "^guest=$1," || kill -KILL "$pid" 2> /dev/null || true
}

bridge_make() {
	undo ip link del br0
	ip -batch - <<- END
		link add br0 type bridge forward_delay 0
		address add 192.0.2.1/26 dev br0
		link set br0 up
	END
}

of_manifest() { jq -r "$2" "$images/${variant[$1]}/manifest.json"; }

# A file of the seed: guest_file PATH MODE < CONTENT.
guest_file() { printf '  - path: %s\n    permissions: "%s"\n    encoding: b64\n    content: "%s"\n' "$1" "$2" "$(base64 -w 0)"; }

# What runs in the guest beside its service, if anything: guest_programs NAME prints a script, as the style has it; files of it are
# below /etc/baselines, in the programs' root too.
guest_begin() {
	cat <<- END
		#!/bin/sh
		root=/opt/baselines
		for folder in proc dev etc/baselines; do mount -o bind /\$folder \$root/\$folder; done
		mount -o rbind / \$root/host
		mount -t tmpfs -o mode=755,size=4m run \$root/run
		mkdir \$root/run/monit
		export BASELINE_EXPECT='${BASELINE_EXPECT:-}'
	END
	guest_programs "$1"
	echo wait
}

# guest_define NAME: with the root that $guest_root says instead of its variant's, if any; after it, `virsh start NAME`.
guest_define() {
	local name=$1 number folder=$run/$1 lab file
	number=$(guest_number "$name")
	lab=${BASELINE_LAB:-$run/lab}/$number
	mkdir -p "$folder/seed" "$lab"
	undo rm -rf "$lab"
	printf 'instance-id: %s\nlocal-hostname: %s\n' "$name" "$name" > "$folder/seed/meta-data"
	cat > "$folder/seed/network-config" <<- END
		version: 2
		ethernets:
		  eth0:
		    match:
		      macaddress: "02:6b:62:00:00:0$number"
		    set-name: eth0
		    addresses:
		      - "192.0.2.1$number/26"
		    routes:
		      - to: "0.0.0.0/0"
		        via: "192.0.2.1"
	END
	{
		printf '#cloud-config\nwrite_files:\n'
		guest_begin "$name" | guest_file /usr/sbin/koboshi-guest 0755
		for file in "$here"/keepalived-*.conf "$here"/paper-*.conf; do guest_file "/etc/baselines/${file##*/}" 0644 < "$file"; done
		guest_file /etc/baselines/check 0755 < "$here/check"
		guest_file /etc/baselines/restart 0755 < "$here/guest-restart"
		sed 's|@RESTART@|/etc/baselines/restart|' "$here/monit.conf" | guest_file /etc/baselines/monit.conf 0600
		printf 'mounts:\n  - ["/dev/vdc", "/opt/baselines", "erofs", "ro"]\n'
	} > "$folder/seed/user-data"
	xorriso -as mkisofs -quiet -V cidata -r -o "$folder/seed.iso" "$folder/seed" > "$folder/iso.log" 2>&1 || die "the seed of $name cannot be made: $(tail -n 1 "$folder/iso.log")"
	guest_xml "$name" "/host$folder" "/host$lab" > "$folder/domain.xml"
	virsh define "/host$folder/domain.xml" > /dev/null || die "libvirt does not take $name"
}

disk_xml() { # FILE TARGET SLOT
	cat <<- END
		    <disk type='file' device='disk'>
		      <driver name='qemu' type='raw'/>
		      <source file='$1'/>
		      <target dev='$2' bus='virtio'/>
		      <readonly/>
		      <address type='pci' domain='0' bus='0' slot='$3' function='0'/>
		    </disk>
	END
}

# A guest that crashes is destroyed, as virt-install has it; koboshi-vm keeps it for the evidence.
guest_xml() { # NAME FOLDER LAB, as the hypervisor sees them
	local image=/host$images/${variant[$1]} root=${guest_root:-/host$images/${variant[$1]}/root.erofs} number
	number=$(guest_number "$1")
	cat <<- END
		<domain type='qemu'>
		  <name>$1</name>
		  <memory unit='MiB'>$(of_manifest "$1" .boot.memory_mib)</memory>
		  <vcpu>1</vcpu>
		  <os>
		    <type arch='x86_64' machine='q35'>hvm</type>
		    <kernel>$image/vmlinuz</kernel>
		    <initrd>$image/initrd</initrd>
		    <cmdline>$(of_manifest "$1" .boot.cmdline)</cmdline>
		  </os>
		  <features><acpi/><apic/></features>
		  <clock offset='utc'><timer name='rtc' track='wall'/></clock>
		  <on_poweroff>destroy</on_poweroff>
		  <on_reboot>restart</on_reboot>
		  <on_crash>destroy</on_crash>
		  <devices>
		    <emulator>/usr/bin/qemu-system-x86_64</emulator>
		$(disk_xml "$root" vda 2)
		$(disk_xml "$2/seed.iso" vdb 3)
		$(disk_xml "/guest.erofs" vdc 9)
		    <controller type='usb' model='none'/>
		    <interface type='bridge'>
		      <source bridge='br0'/>
		      <mac address='02:6b:62:00:00:0$number'/>
		      <target dev='port-$1'/>
		      <model type='virtio'/>
		      <driver name='qemu'/>
		      <rom enabled='no'/>
		      <address type='pci' domain='0' bus='0' slot='4' function='0'/>
		    </interface>
		    <serial type='file'>
		      <source path='$2/console.log'/>
		      <target type='isa-serial' port='0'/>
		    </serial>
		    <controller type='virtio-serial' index='0' ports='3'>
		      <address type='pci' domain='0' bus='0' slot='6' function='0'/>
		    </controller>
		    <channel type='unix'>
		      <source mode='bind' path='$3/lab.sock'/>
		      <target type='virtio' name='org.koboshi.lab.0'/>
		    </channel>
		    <rng model='virtio'>
		      <backend model='random'>/dev/urandom</backend>
		      <address type='pci' domain='0' bus='0' slot='5' function='0'/>
		    </rng>
		    <memballoon model='none'/>
		    <panic model='isa'/>
		  </devices>
		</domain>
	END
}

guest_answers() { curl -sf --noproxy '*' -m 1 -o /dev/null "http://192.0.2.1$(guest_number "$1")/"; }

# guests_wait NAMES: until each answers at its own address; a guest boots in 10 to 20 s under emulation.
guests_wait() {
	local name end=$((SECONDS + 120))
	for name; do
		until guest_answers "$name"; do
			[ $SECONDS -lt $end ] || die "$name does not answer; its console ends: $(tail -n 2 "$run/$name/console.log" 2> /dev/null)"
			sleep 0.1
		done
	done
}
