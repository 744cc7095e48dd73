# The kill switch stops software. People go on, and so do the books that the workflow keeps: a
# promise does not stop being broken because software is stopped.
package dispatch

deny contains stopped("KILL_SWITCH_ENGAGED", message, to_pass) if {
	input.kill_switch
	input.actor.kind in data.autonomy.kinds
	not keeps_the_books
	message := sprintf("The kill switch is engaged: %s is not for a caller of kind %s now.", [
		input.operation,
		input.actor.kind,
	])
	to_pass := "A person does it, or a person with the right to releases the kill switch."
}

keeps_the_books if {
	input.actor.kind == "workflow"
	input.operation in data.autonomy.through_kill_switch
}
