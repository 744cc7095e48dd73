//! `dispatch shadow replay`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::Args;
use contracts::{TenantId, TicketId};
use replay::{
    AdviceChange, DecisionChange,
    s3::{Place, Store},
    summary::{Met, Summary},
};
use tempfile::TempDir;

use super::record::{self, CODE_VERSION, Meter, SpanArgs, failed};
use crate::{
    cli::{Global, JsonArgs},
    commands::{load, print, print_json},
    exit::Failure,
    table::{Facts, Screen, Table},
    words,
};

/// `dispatch shadow replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    pub span: SpanArgs,

    /// Whose tickets: the tenant's id or its name (several with commas)
    #[arg(long, value_name = "TENANT", value_delimiter = ',', required = true)]
    pub tenant: Vec<String>,

    /// Only this ticket: its full id, tkt_ and 32 digits
    #[arg(long, value_name = "ID")]
    pub ticket: Option<TicketId>,

    /// Under which bundle decisions are made again: a folder, an archive, or the sha256 of one that
    /// this installation has [default: the active one]
    #[arg(long, value_name = "PATH|SHA256")]
    pub bundle: Option<String>,

    /// Where the files go: a folder that is not there yet, or s3://BUCKET/PREFIX
    ///
    /// In an object store they go below PREFIX/tenant=ID, one tenant at a time. It is found by AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
    /// AWS_REGION and AWS_ENDPOINT_URL_S3.
    #[arg(long, value_name = "PLACE", default_value = "shadow-replay")]
    pub out: Out,

    #[command(flatten)]
    pub output: JsonArgs,
}

/// Where the files go.
#[derive(Debug, Clone)]
pub enum Out {
    /// A folder.
    Folder(PathBuf),
    /// An object store.
    Store(Place),
}

impl FromStr for Out {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.contains("://") {
            true => text.parse().map(Self::Store),
            false => Ok(Self::Folder(PathBuf::from(text))),
        }
    }
}

/// Where the files go, known to be possible.
enum Target {
    Folder(PathBuf),
    Store(Box<Store>),
}

/// Replays, and brings the files to their place when all of them are complete.
pub async fn run(global: &Global, args: &ReplayArgs) -> Result<(), Failure> {
    let settings = load(global, Vec::new())?.settings;
    let pool = record::open(&settings).await?;
    let range = record::range(&pool, &args.span, &args.tenant, args.ticket).await?;
    let (target, files) = prepare(&args.out, &range.tenants).await?;
    let bundle = record::bundle(&settings, &pool, args.bundle.as_deref()).await?;
    let mut meter = Meter::new("timelines");
    let summary = replay::shadow::replay(
        &pool,
        &bundle,
        &range,
        CODE_VERSION,
        files.path(),
        |done, total| meter.tell(done, total),
    )
    .await;
    meter.end();
    let summary = summary.map_err(failed)?;
    let place = match target {
        Target::Folder(folder) => {
            fs::rename(files.path(), &folder).map_err(|error| unwritable(&folder, &error))?;
            folder.display().to_string()
        }
        Target::Store(store) => {
            store.upload(files.path()).await.map_err(failed)?;
            store.place().to_string()
        }
    };
    if args.output.json {
        print_json(&summary)?;
    } else {
        print(&text(&summary, &place, Screen::of_stdout()))?;
    }
    match summary.unreadable.is_empty() {
        true => Ok(()),
        false => Err(Failure::failed(
            "some timelines could not be walked to their end; `dispatch verify` says more",
        )),
    }
}

/// Looks at the place before the work is done, and makes a folder to work in: beside a target
/// folder, so that the result comes to its place in one step.
async fn prepare(out: &Out, tenants: &[TenantId]) -> Result<(Target, TempDir), Failure> {
    let mut builder = tempfile::Builder::new();
    builder
        .prefix(".shadow-replay-")
        .permissions(fs::Permissions::from_mode(0o755));
    match out {
        Out::Folder(folder) => {
            if folder.exists() && !folder.is_dir() {
                return Err(Failure::usage(format!(
                    "{} is there already and no folder; choose a folder with --out",
                    folder.display()
                )));
            }
            // An empty folder is as good as none: it is replaced.
            if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
                return Err(Failure::usage(format!(
                    "{} is there already and not empty; choose another folder with --out",
                    folder.display()
                )));
            }
            let parent = match folder.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            let files = fs::create_dir_all(parent).and_then(|()| builder.tempdir_in(parent));
            let files = files.map_err(|error| unwritable(folder, &error))?;
            Ok((Target::Folder(folder.clone()), files))
        }
        Out::Store(place) => {
            let &[tenant] = tenants else {
                return Err(Failure::usage(
                    "what goes to an object store is of one tenant, which its keys name; replay one \
                     after the other, or into a folder",
                ));
            };
            let variable = |name: &str| std::env::var(name).ok();
            let store = Store::new(place.clone(), tenant, variable).map_err(failed)?;
            store.check().await.map_err(failed)?;
            let files = builder.tempdir().map_err(|error| {
                Failure::failed(format!("cannot make a temporary folder: {error}"))
            })?;
            Ok((Target::Store(Box::new(store)), files))
        }
    }
}

fn unwritable(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("cannot write {}: {error}", folder.display()))
}

fn text(summary: &Summary, place: &str, screen: Screen) -> String {
    let seen = &summary.looked_at;
    let mut facts = Facts::default();
    let bundle = &summary.bundle;
    facts.add(
        "bundle",
        format!("{}, sha256 {}", bundle.version, bundle.sha256),
    );
    facts.add("from", words::time(summary.range.since));
    facts.add(
        "to",
        summary
            .range
            .until
            .map_or_else(|| "the end of the record".to_owned(), words::time),
    );
    facts.add(
        "looked at",
        format!(
            "{} tickets, {} other chains, {} attempts",
            seen.tickets, seen.other_chains, seen.attempts
        ),
    );
    for lost in &summary.unreadable {
        facts.add("unreadable", format!("{} {}", lost.stream, lost.reason));
    }
    let mut text = facts.render(screen);
    if !summary.proposals.is_empty() {
        let mut headings = vec!["PROPOSALS", "DUE", "NOT DUE"];
        let names = AdviceChange::ALL.map(|change| change.words().to_uppercase());
        headings.extend(names.iter().map(String::as_str));
        headings.extend(["AGREED THEN", "AGREED NOW"]);
        let mut table = Table::new(&headings);
        for (kind, of) in &summary.proposals {
            let mut row = vec![kind.to_string(), of.due.to_string(), of.not_due.to_string()];
            row.extend(AdviceChange::ALL.map(|change| {
                let count = of.compared.get(&change).copied().unwrap_or_default();
                count.to_string()
            }));
            row.extend([agreed(&of.recorded), agreed(&of.replayed)]);
            table.row(row);
        }
        text += "\n";
        text += &table.render(screen, &[0]);
    }
    let decisions: Vec<_> = DecisionChange::ALL
        .iter()
        .map(|change| {
            let count = summary.decisions.get(change).copied().unwrap_or_default();
            format!("{count} {}", change.words())
        })
        .collect();
    text += &format!("\ndecisions: {}\n", decisions.join(", "));
    text += &format!("\nin {place}:\n");
    for file in &summary.files {
        text += &format!(
            "  {:<16} {} lines, sha256 {}\n",
            file.name, file.lines, file.sha256
        );
    }
    text += &format!("  {}\n", replay::artifact::SUMMARY);
    text
}

/// The share of what people did that agrees, and of how many.
fn agreed(met: &Met) -> String {
    let acts = met.all.same + met.all.equivalent + met.all.different;
    match met.all.agreement_permille {
        Some(share) => format!("{}.{} % of {acts}", share / 10, share % 10),
        None => "–".to_owned(),
    }
}
