package dispatch_test.nte

import data.dispatch_test.fixtures as f

limits := {"delta_cents": 50000, "delta_percent": 100, "cumulative_percent": 150}

decide(delta, nte, figures) := decision if {
	ticket := object.union(f.ticket, {"nte_cents": nte})
	body := {"scope": "second_pane", "price_delta_cents": delta}
	decision := data.dispatch.decision with input as f.ask("request_change", f.technician, body, ticket)
		with data.nte as figures
}

codes(delta, nte, figures) := {reason.code | some reason in decide(delta, nte, figures).reasons}

test_a_usual_change_passes if {
	decide(50000, 80000, limits).result == "ALLOW"
}

test_one_cent_above_at_once if {
	codes(50001, 80000, limits) == {"NTE_DELTA"}
	decide(50001, 80000, limits).result == "REQUIRE_APPROVAL"
}

wide := object.union(limits, {"delta_cents": 1000000})

test_one_cent_above_the_share if {
	codes(80000, 80000, wide) == set()
	codes(80001, 80000, wide) == {"NTE_PERCENT"}
}

test_one_cent_above_together if {
	codes(40000, 160000, wide) == set()
	codes(40001, 160000, wide) == {"NTE_CUMULATIVE"}
}

test_it_says_what_would_pass if {
	{reason.to_pass | some reason in decide(50001, 200000, limits).reasons} == {
		"Ask for at most 500.00 EUR, or have it approved by account_manager.",
		"Ask for at most 0.00 EUR, or have it approved by account_manager.",
	}
}

test_the_account_manager_releases_it if {
	request := f.ask("request_change", f.technician, {"price_delta_cents": 300000}, f.ticket)
	data.dispatch.result == "REQUIRE_APPROVAL" with input as request
	data.dispatch.result == "ALLOW" with input as f.released(request, [f.vote("person:a", "account_manager")])
	data.dispatch.result == "REQUIRE_APPROVAL" with input as f.released(request, [f.vote("person:a", "approver")])
}

test_amounts_are_written_by_their_digits if {
	data.dispatch.money(0) == "0.00 EUR" with input as {"tenant": f.tenant}
	data.dispatch.money(7) == "0.07 EUR" with input as {"tenant": f.tenant}
	data.dispatch.money(80000) == "800.00 EUR" with input as {"tenant": f.tenant}
	data.dispatch.money(99999999999999999) == "999999999999999.99 EUR" with input as {"tenant": f.tenant}
}
