# What software does by itself is capped per clock hour (UTC) and tenant. What a person has released
# is not done by itself.
package dispatch

capped if {
	autonomous_change
	not input.release
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
