# The kill switch stops software. People go on, and so do the books that the workflow keeps: a
# promise does not stop being broken because software is stopped. A person with the right to may
# carry out one thing nevertheless; dispatch-api checks the right and says so.
package dispatch

deny contains stopped("KILL_SWITCH_ENGAGED", message, to_pass) if {
	input.kill_switch
	input.actor.kind in data.autonomy.kinds
	not keeps_the_books
	not input.kill_switch_override
	message := sprintf("The kill switch is engaged%s: %s is not for a caller of kind %s now.", [
		which_switches,
		input.operation,
		input.actor.kind,
	])
	to_pass := "A person does it, or a person with the right to releases the kill switch."
}

keeps_the_books if {
	input.actor.kind == "workflow"
	input.operation in data.autonomy.through_kill_switch
}

which_switches := sprintf(" (%s)", [concat(", ", input.kill_switches)]) if {
	count(input.kill_switches) > 0
} else := ""

# One that stops all tenants is for those who run the installation.
deny contains forbidden("KILL_SWITCH_SCOPE", message, to_pass) if {
	input.operation in {"engage_kill_switch", "release_kill_switch"}
	input.body.scope.kind == "everything"
	not puts_an_end_on_record
	not "platform_admin" in input.actor.roles
	message := "The kill switch over everything stops all tenants."
	to_pass := "Call as a person with role platform_admin, or turn the switch of this tenant."
}

# dispatch-api lets the workflow release what has released itself, and nothing else: that is how the
# end comes on record.
puts_an_end_on_record if {
	input.operation == "release_kill_switch"
	input.actor.kind == "workflow"
}

hold contains at(held("REARM", message, "Wait until the switch releases itself"), "/scope") if {
	input.operation == "release_kill_switch"
	not puts_an_end_on_record
	input.body.scope.kind in data.approvals.rearm_scopes
	input.body.scope.kind != "everything"
	message := sprintf("A kill switch of scope `%s` is released by two people.", [input.body.scope.kind])
}

# What stops all tenants is not let go on by the administrator of one.
hold contains at(held("REARM_EVERYTHING", message, "Wait until the switch releases itself"), "/scope") if {
	input.operation == "release_kill_switch"
	not puts_an_end_on_record
	input.body.scope.kind == "everything"
	"everything" in data.approvals.rearm_scopes
	message := "The kill switch over everything is released by two people who run the installation."
}
