//! Writes a note. The text is in the note's row and nowhere else.

use contracts::{command::AddNote, event::TicketEvent};

use super::Plan;
use crate::{Effect, Facts};

pub(super) fn plan(body: &AddNote, facts: &Facts) -> Plan {
    let id = facts.ids.note;
    Plan::from(TicketEvent::NoteAdded { note_id: id }).with([Effect::WriteNote {
        id,
        text: body.text.clone(),
    }])
}
