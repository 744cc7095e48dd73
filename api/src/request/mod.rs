//! From bytes to a typed request: everything that happens before an operation's own code.

mod command;
mod context;
pub(crate) mod decode;
mod export_record;
mod guard;
mod instant;
pub(crate) mod json;
mod params;
mod read;
mod rights;
mod wait;

pub use command::{
    APPROVAL_MEMBER, BulkRequest, CommandRequest, EXPECTED_VERSION_MEMBER, REQUEST_ID_MEMBER,
    TENANT_MEMBER,
};
pub use context::{RequestContext, observe};
pub use export_record::ExportRecord;
pub(crate) use guard::LetIn;
pub use guard::{Caller, guard};
pub use params::{PathId, Query, TicketPath, missing};
pub use read::ReadRequest;
pub use rights::{Needed, Rights};
pub use wait::{MOST as LONGEST_WAIT, PREFER, PREFERENCE_APPLIED};
