package dispatch_test.triage

import data.dispatch_test.fixtures as f

new := object.union(f.ticket, {"state": "NEW", "details": {}})

pointers(body, ticket) := {reason.pointer |
	deny := data.dispatch.deny with input as f.ask("triage", f.person("dispatcher"), body, ticket)
	some reason in deny
	reason.code == "MISSING_DETAIL"
}

test_each_missing_detail_is_named if {
	ticket := {k: v | some k, v in new; k != "details"}
	pointers({"priority": "P1", "details": {}}, object.union(ticket, {"details": {}})) == {"/details/pane_count", "/details/public_hazard"}
}

test_no_counts_as_known if {
	ticket := {k: v | some k, v in f.ticket; k != "details"}
	with_one := object.union(ticket, {"details": {"public_hazard": false}})
	pointers({"priority": "P1", "details": {"pane_count": 0}}, with_one) == set()
}

test_the_named_template_counts if {
	pointers({"priority": "P1", "template": "emergency_door", "details": {}}, f.ticket) == {"/details/door_kind", "/details/building_secure"}
}
