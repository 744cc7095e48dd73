# Nothing is charged above the not-to-exceed amount, and nothing is given away without a reason.
package dispatch

deny contains at(unmet("NTE_EXCEEDED", message, to_pass), "/lines") if {
	input.operation == "generate_invoice"
	total := sum([amount |
		some line in input.body.lines
		amount := line.quantity * line.unit_cents
	])
	total > input.ticket.nte_cents
	message := sprintf("The lines sum to %d, more than the not-to-exceed amount of %d (smallest unit of %s).", [
		total,
		input.ticket.nte_cents,
		input.tenant.currency,
	])
	to_pass := sprintf("Charge at most %s, or have a change order over %s approved.", [
		money(input.ticket.nte_cents),
		money(total - input.ticket.nte_cents),
	])
}

deny contains at(unmet("NO_CHARGE_REASON", message, to_pass), "/no_charge_reason") if {
	input.operation == "close"
	input.ticket.state == "VERIFIED"
	not input.body.no_charge_reason
	message := "A verified job that was not invoiced is closed only with a reason for not charging."
	to_pass := "Give `no_charge_reason`, or generate the invoice first."
}
