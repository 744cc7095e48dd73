# A technician goes in a confirmed window, or at once where the template allows it.
package dispatch

deny contains unmet("SCHEDULE_REQUIRED", message, to_pass) if {
	input.operation == "dispatch"
	input.ticket.state == "TRIAGED"
	not direct_dispatch
	message := sprintf("A %s job of template `%s` is not dispatched without a confirmed window.", [
		input.ticket.priority,
		input.ticket.template,
	])
	to_pass := "Propose a window and have it confirmed, or triage to a priority with direct dispatch."
}

direct_dispatch if input.ticket.priority in template.direct_dispatch
