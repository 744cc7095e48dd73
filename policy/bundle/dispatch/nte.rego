# A change order raises the not-to-exceed amount and is decided by the customer's approver. One that
# is large is not even asked for without the account manager: by itself, against what the template
# covers, or together with what was agreed before.
package dispatch

hold contains at(held("NTE_DELTA", message, otherwise), "/price_delta_cents") if {
	input.operation == "request_change"
	input.body.price_delta_cents > data.nte.delta_cents
	message := sprintf("The change order asks for %s, more than %s at once.", [
		money(input.body.price_delta_cents),
		money(data.nte.delta_cents),
	])
	otherwise := sprintf("Ask for at most %s", [money(data.nte.delta_cents)])
}

hold contains at(held("NTE_PERCENT", message, otherwise), "/price_delta_cents") if {
	input.operation == "request_change"
	input.body.price_delta_cents * 100 > template.nte_cents * data.nte.delta_percent
	message := sprintf("The change order asks for %s, more than %d %% of the %s that template `%s` covers.", [
		money(input.body.price_delta_cents),
		data.nte.delta_percent,
		money(template.nte_cents),
		template_id,
	])
	most := floor((template.nte_cents * data.nte.delta_percent) / 100)
	otherwise := sprintf("Ask for at most %s", [money(most)])
}

hold contains at(held("NTE_CUMULATIVE", message, otherwise), "/price_delta_cents") if {
	input.operation == "request_change"
	agreed := input.ticket.nte_cents - template.nte_cents
	sum_of_changes := agreed + input.body.price_delta_cents
	sum_of_changes * 100 > template.nte_cents * data.nte.cumulative_percent
	message := sprintf("With this change order the ticket would exceed its template by %s, more than %d %% of the %s that `%s` covers.", [
		money(sum_of_changes),
		data.nte.cumulative_percent,
		money(template.nte_cents),
		template_id,
	])
	left := floor((template.nte_cents * data.nte.cumulative_percent) / 100) - agreed
	otherwise := sprintf("Ask for at most %s", [money(max([left, 0]))])
}
