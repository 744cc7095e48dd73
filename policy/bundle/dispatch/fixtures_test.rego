# What the tests are asked about: an emergency-glass job in the middle of its life.
package dispatch_test.fixtures

ticket := {
	"id": "tkt_00000000000000000000000000000001",
	"state": "ON_SITE",
	"version": 7,
	"template": "emergency_glass",
	"priority": "P1",
	"details": {"pane_count": 2, "public_hazard": false},
	"nte_cents": 80000,
	"technician_id": "tec_00000000000000000000000000000001",
	"visit": 1,
	"evidence": [],
	"customer_awaited": false,
}

tenant := {
	"currency": "EUR",
	"calendar": {"time_zone": "Europe/Amsterdam", "week": [], "days_off": []},
}

person(role) := {"id": concat(":", ["person", role]), "kind": "person", "roles": [role], "technician_id": null}

technician := object.union(person("technician"), {"technician_id": ticket.technician_id})

software(kind) := {"id": concat(":", ["software", kind]), "kind": kind, "roles": [], "technician_id": null}

integration(role) := object.union(software("integration"), {"roles": [role]})

ask(operation, actor, body, about) := {
	"v": 1,
	"operation": operation,
	"at": "2026-11-21T09:00:00Z",
	"actor": actor,
	"body": body,
	"ticket": about,
	"approval": null,
	"tenant": tenant,
	"autonomy": "SHADOW",
}

# The same, asked by software at a stage.
at_stage(mode, request) := object.union(request, {"autonomy": mode})

# The same, when it is carried out after these people said yes.
released(request, votes) := object.union(request, {"release": {
	"approval_id": "apr_00000000000000000000000000000001",
	"proposer": request.actor,
	"votes": votes,
}})

vote(name, role) := {"actor_id": name, "roles": [role]}
