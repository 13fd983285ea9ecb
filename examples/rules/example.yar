/*
 * Rules for what guests write, in the language of YARA. `files: {rules: DIR}` in koboshi.yaml names the folder; try a
 * change with: koboshi scan -- --rules DIR PATH
 *
 * A rule that matches is evidence of a takeover, so it must not match what a service has reason to write.
 */

rule uploaded_program
{
	meta:
		description = "A Linux program where only data belongs"
	condition:
		uint32(0) == 0x464c457f
}

rule script_in_data
{
	meta:
		description = "A script that a shell or interpreter would run"
	strings:
		$shebang = /#! ?\/[a-z\/]{1,40}\/(ba|da)?sh\b/
		$env = "#!/usr/bin/env "
	condition:
		$shebang at 0 or $env at 0
}

rule php_in_upload
{
	meta:
		description = "PHP where pictures or tables are expected"
	strings:
		$open = "<?php"
		$call = /\b(eval|system|passthru|shell_exec)\s*\(/
	condition:
		$open and $call
}
