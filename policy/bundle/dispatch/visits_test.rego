package dispatch_test.visits

import data.dispatch_test.fixtures as f

stranger := object.union(f.technician, {"technician_id": "tec_00000000000000000000000000000002"})

codes(operation, actor, ticket) := {reason.code |
	deny := data.dispatch.deny with input as f.ask(operation, actor, {}, ticket)
	some reason in deny
}

test_ones_own_visit if codes("check_in", f.technician, f.ticket) == set()

test_anothers_visit if codes("check_in", stranger, f.ticket) == {"NOT_ASSIGNED"}

test_nobodys_visit if {
	codes("en_route", f.technician, object.union(f.ticket, {"technician_id": null})) == {"NOT_ASSIGNED"}
}

test_a_token_without_a_technician if {
	nobody := object.union(f.ticket, {"technician_id": null})
	codes("check_in", f.person("technician"), nobody) == {"NOT_ASSIGNED"}
}

test_a_dispatcher_may_enter_it_for_them if {
	codes("check_in", f.person("dispatcher"), f.ticket) == set()
	both := object.union(stranger, {"roles": ["dispatcher", "technician"]})
	codes("check_in", both, f.ticket) == set()
}

test_but_not_what_only_a_technician_may if {
	both := object.union(stranger, {"roles": ["dispatcher", "technician"]})
	codes("request_change", both, f.ticket) == {"NOT_ASSIGNED"}
	codes("request_change", f.person("dispatcher"), f.ticket) == {"NOT_PERMITTED"}
}

test_a_note_is_for_any_ticket if codes("add_note", stranger, f.ticket) == set()
