# What software may do by itself: at OFF and SHADOW it keeps the books and nothing else, at APPROVE
# it acts when a person has released it, at AUTO by itself. dispatch-api resolves CANARY to APPROVE
# or AUTO by the ticket; a mode that this file does not know lets nothing pass.
package dispatch

autonomous_change if {
	input.actor.kind in data.autonomy.kinds
	not input.operation in data.autonomy.bookkeeping
}

mode := object.get(input, "autonomy", "OFF")

deny contains stage("STAGE_SHADOW", message, to_pass) if {
	autonomous_change
	mode == "SHADOW"
	message := sprintf("At stage %s software says what it would do and does not do it: %s is not for a caller of kind %s.", [
		mode,
		input.operation,
		input.actor.kind,
	])
	to_pass := sprintf("Record a proposal; a person carries it out%s.", [what_binds])
}

deny contains stage("STAGE_OFF", message, to_pass) if {
	autonomous_change
	not mode in {"SHADOW", "APPROVE", "AUTO"}
	message := sprintf("At stage %s software does nothing: %s is not for a caller of kind %s.", [
		mode,
		input.operation,
		input.actor.kind,
	])
	to_pass := sprintf("A person does it%s.", [what_binds])
}

hold contains held("STAGE_APPROVE", message, otherwise) if {
	autonomous_change
	mode == "APPROVE"
	message := sprintf("At stage %s software does what a person has released: %s by a caller of kind %s.", [
		mode,
		input.operation,
		input.actor.kind,
	])
	otherwise := sprintf("Have a person do it%s", [what_binds])
}

# What keeps the mode below the one that is set.
what_binds := "; or let software act on this ticket again (`set_ticket_autonomy`)" if {
	input.stage.opted_out
} else := sprintf("; this environment allows no more than %s", [input.stage.ceiling]) if {
	rank[input.stage.configured] > rank[input.stage.ceiling]
	mode == input.stage.ceiling
} else := "; the ticket is not in the share of tickets on which software acts by itself" if {
	input.stage.configured == "CANARY"
	not input.stage.in_canary
} else := ""

rank := {"OFF": 0, "SHADOW": 1, "APPROVE": 2, "CANARY": 3, "AUTO": 4}
