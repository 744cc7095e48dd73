# What software does by itself is capped per clock hour (UTC) and tenant. What a person has released
# is not done by itself. What it asks people for is capped per ticket.
package dispatch

capped if {
	autonomous_change
	not input.release
}

# People can look at so much. Released or not, what waits on the ticket is no more than this; an amendment
# adds nothing.
deny contains unmet("AUTONOMY_CAP_HELD", message, to_pass) if {
	capped
	count(waiting) > 0
	not input.approval.id
	most := data.autonomy.caps.held_per_ticket
	input.ticket.held_by_software >= most
	message := sprintf("%d commands of software wait for people on this ticket; at most %d may.", [
		input.ticket.held_by_software,
		most,
	])
	to_pass := "Wait until people have decided some of them, withdraw one, or let a person do it."
}

later := "Wait for the next hour (UTC), or let a person do it."

deny contains unmet("AUTONOMY_CAP_COUNT", message, later) if {
	capped
	input.hour.in_all >= data.autonomy.caps.commands_per_hour
	message := sprintf("Software did %d things by itself in this hour; at most %d are let pass.", [
		input.hour.in_all,
		data.autonomy.caps.commands_per_hour,
	])
}

deny contains unmet("AUTONOMY_CAP_OPERATION", message, later) if {
	capped
	most := data.autonomy.caps.of_operation_per_hour[input.operation]
	input.hour.of_operation >= most
	message := sprintf("Software did %s %d times by itself in this hour; at most %d are let pass.", [
		input.operation,
		input.hour.of_operation,
		most,
	])
}

deny contains unmet("AUTONOMY_CAP_SPEND", message, to_pass) if {
	capped
	most := data.autonomy.caps.spend_cents_per_hour
	input.hour.spent_cents + input.hour.spends_cents > most
	message := sprintf("Software spent %s by itself in this hour and would spend %s more; at most %s are let pass.", [
		money(input.hour.spent_cents),
		money(input.hour.spends_cents),
		money(most),
	])
	left := max([most - input.hour.spent_cents, 0])
	to_pass := sprintf("Spend at most %s, wait for the next hour (UTC), or let a person do it.", [money(left)])
}
