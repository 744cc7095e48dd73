# What software may do by itself. In shadow mode: keep the books, and nothing else.
package dispatch

autonomous_change if {
	input.actor.kind in data.autonomy.kinds
	not input.operation in data.autonomy.bookkeeping
}

deny contains stage("STAGE_SHADOW", message, to_pass) if {
	autonomous_change
	message := sprintf("At stage %s software says what it would do and does not do it: %s is not for a caller of kind %s.", [
		input.autonomy,
		input.operation,
		input.actor.kind,
	])
	to_pass := "Record a proposal; a person carries it out."
}
