package dispatch_test.billing

import data.dispatch_test.fixtures as f

line(quantity, unit) := {"item": "labour", "quantity": quantity, "unit_cents": unit}

codes(operation, body, state) := {reason.code |
	ticket := object.union(f.ticket, {"state": state})
	deny := data.dispatch.deny with input as f.ask(operation, f.person("billing"), body, ticket)
	some reason in deny
}

test_up_to_the_nte if {
	codes("generate_invoice", {"lines": [line(2, 30000), line(1, 20000)]}, "VERIFIED") == set()
}

test_not_above_it if {
	codes("generate_invoice", {"lines": [line(2, 30000), line(1, 20001)]}, "VERIFIED") == {"NTE_EXCEEDED"}
}

test_equal_lines_count_each if {
	codes("generate_invoice", {"lines": [line(1, 50000), line(1, 50000)]}, "VERIFIED") == {"NTE_EXCEEDED"}
}

test_nothing_is_given_away_without_a_reason if {
	codes("close", {}, "VERIFIED") == {"NO_CHARGE_REASON"}
	codes("close", {"no_charge_reason": "goodwill"}, "VERIFIED") == set()
	codes("close", {}, "INVOICED") == set()
}
