//! `dispatch api`.

use crate::{
    cli::{ApiArgs, Global},
    exit::Failure,
    parts, shutdown,
};

/// Serves until Ctrl-C.
pub async fn run(global: &Global, args: &ApiArgs) -> Result<(), Failure> {
    let flag =
        |key, value: Option<std::net::SocketAddr>| value.map(|value| (key, value.to_string()));
    let flags = [
        flag("api.listen", args.listen),
        flag("api.metrics_listen", args.metrics_listen),
    ];
    let settings = super::load(global, flags.into_iter().flatten().collect())?.settings;
    parts::api(&settings, shutdown::on_signal())?.await
}
