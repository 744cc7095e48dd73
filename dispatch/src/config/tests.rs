use std::{collections::BTreeSet, fs};

use api::identity::Algorithm;
use clap::CommandFactory;
use contracts::{ActorKind, Role};

use super::*;
use crate::cli::Cli;

fn load(file: &str, variables: &[(&str, &str)], set: &[&str]) -> Result<Config, Failure> {
    let name = format!("dispatch-config-{}", uuid::Uuid::now_v7());
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("mine.toml"), file).unwrap();
    let sources = Sources {
        file: Some(folder.join("mine.toml")),
        state_dir: None,
        set: set.iter().map(ToString::to_string).collect(),
        flags: Vec::new(),
    };
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let config = Config::load_with(&sources, variables);
    fs::remove_dir_all(folder).unwrap();
    config
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let file = "[api]\nlisten = '1.1.1.1:1'\npool = 4\n[auth]\nissuer = 'file'\n[relay]\nmode = 'log-only'";
    let config = load(
        file,
        &[
            ("DISPATCH_API_POOL", "5"),
            ("DISPATCH_AUTH_ISSUER", "env"),
            ("OTHER", "x"),
        ],
        &["auth.issuer=flag"],
    )
    .unwrap();
    let settings = &config.settings;
    assert_eq!(settings.api.listen.to_string(), "1.1.1.1:1");
    assert_eq!(settings.api.pool, 5);
    assert_eq!(settings.auth.issuer, "flag");
    assert_eq!(settings.auth.audience, "dispatch-api");
    assert_eq!(config.source("auth.issuer"), "command line");
    assert_eq!(config.source("api.pool"), "DISPATCH_API_POOL");
    assert_eq!(config.source("auth.audience"), "default");
    assert!(config.source("relay.mode").ends_with("mine.toml"));
}

#[test]
fn an_unknown_key_says_where_it_is_and_what_there_is() {
    let message = |result: Result<Config, Failure>| result.unwrap_err().message;
    let in_file = message(load("[api]\nlisten_on = 'x'", &[], &[]));
    assert!(in_file.contains("`api.listen_on`"), "{in_file}");
    assert!(in_file.contains("mine.toml"), "{in_file}");
    assert!(in_file.contains("metrics_listen"), "{in_file}");
    let in_environment = message(load("", &[("DISPATCH_API_LISTNE", "x")], &[]));
    assert!(
        in_environment.contains("no variable DISPATCH_API_LISTNE,")
            && in_environment.contains("did you mean `DISPATCH_API_LISTEN`?"),
        "{in_environment}"
    );
    let far_off = message(load("", &[("DISPATCH_SOMETHING_ELSE", "x")], &[]));
    assert!(
        far_off.contains("no variable DISPATCH_SOMETHING_ELSE;"),
        "{far_off}"
    );
    let in_flag = message(load("", &[], &["api.listne=x"]));
    assert!(
        in_flag.contains("`api.listne`")
            && in_flag.contains("command line")
            && in_flag.contains("did you mean `api.listen`?"),
        "{in_flag}"
    );
}

/// The variables that flags take their values from.
fn of_flags(command: &clap::Command) -> BTreeSet<String> {
    let flags = command.get_arguments().filter_map(clap::Arg::get_env);
    let flags = flags.map(|name| name.to_str().unwrap().to_owned());
    let below = command.get_subcommands().flat_map(of_flags);
    flags.chain(below).collect()
}

#[test]
fn a_variable_of_a_flag_is_no_unknown_key() {
    let found = of_flags(&Cli::command());
    assert!(found.contains("DISPATCH_DRILL_TOKEN"), "{found:?}");
    for name in found {
        let loaded = load("", &[(&name, "x")], &[]);
        assert!(loaded.is_ok(), "{name}: {:?}", loaded.err());
    }
}

#[test]
fn a_wrong_value_says_where_it_is() {
    let message = load("", &[("DISPATCH_API_LISTEN", "nowhere")], &[])
        .unwrap_err()
        .message;
    assert!(
        message.contains("`api.listen` (DISPATCH_API_LISTEN)"),
        "{message}"
    );
}

#[test]
fn a_secret_of_digits_stays_text_and_is_never_shown() {
    let config = load("", &[("DISPATCH_AUTH_JWT_SECRET", "007")], &[]).unwrap();
    let secret = config.settings.auth.jwt_secret.as_ref().unwrap();
    assert_eq!(secret.expose(), "007");
    let temporal = crate::temporal::Temporal::new(&config.settings.temporal).unwrap();
    for json in [true, false] {
        let mut out = Vec::new();
        show(&config, &temporal, json, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("007"), "{text}");
        assert!(text.contains("DISPATCH_AUTH_JWT_SECRET"), "{text}");
    }
}

#[test]
fn endpoints_come_as_tables_or_as_json_and_keep_their_secret() {
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let table = format!(
        "[[comms.endpoints]]\nname = 'pager'\nurl = 'https://hooks.example/x'\nkeyed = true\n\
         secret = '{SECRET}'\nchannels = ['operations']\n"
    );
    let json = format!(
        r#"[{{"name":"pager","url":"https://hooks.example/x","keyed":true,"secret":"{SECRET}",
             "channels":["operations"],"on_unknown":"retry"}}]"#
    );
    let by_variable = [("DISPATCH_COMMS_ENDPOINTS", json.as_str())];
    for (config, on_unknown) in [
        (load(&table, &[], &[]), OnUnknown::GiveUp),
        (load(&table, &by_variable, &[]), OnUnknown::Retry),
    ] {
        let config = config.unwrap();
        let [endpoint] = config.settings.comms.endpoints.as_slice() else {
            panic!("{:?}", config.settings.comms.endpoints);
        };
        assert_eq!(endpoint.secret.expose(), SECRET);
        assert_eq!(endpoint.on_unknown, on_unknown);
        let temporal = crate::temporal::Temporal::new(&config.settings.temporal).unwrap();
        let mut out = Vec::new();
        show(&config, &temporal, false, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("pager") && !text.contains("C2FV"), "{text}");
    }
    let typo = load(&table.replace("keyed", "keyd"), &[], &[]);
    let message = typo.unwrap_err().message;
    assert!(
        message.contains("comms.endpoints") && message.contains("keyd"),
        "{message}"
    );
}

#[test]
fn issuers_come_as_tables_or_as_json() {
    let table = "[auth]\nleeway_seconds = 10\n[[auth.issuers]]\nname = 'staff'\n\
        issuer = 'https://login.example/realms/field'\naudiences = ['dispatch']\n\
        algorithm = 'RS256'\ntenant = 'ten_00000000000000000000000000000007'\n\
        [auth.issuers.claims]\nroles = '/realm_access/roles'\n\
        [auth.issuers.roles]\n'Field desk' = ['dispatcher', 'approver']\n";
    let json = r#"[{"name":"robots","issuer":"https://login.example","audiences":["dispatch"],
        "algorithm":"EdDSA","any_tenant":true,"kinds":["agent"],"default_kind":"agent"}]"#;
    let by_variable = [
        ("DISPATCH_AUTH_ISSUERS", json),
        ("DISPATCH_AUTH_LEEWAY_SECONDS", "7"),
    ];
    let issuer = |config: &Config| config.settings.auth.issuers[0].clone();

    let config = load(table, &[], &[]).unwrap();
    let staff = issuer(&config);
    assert_eq!(config.settings.auth.leeway_seconds, 10);
    assert_eq!(staff.algorithm, Algorithm::Rs256);
    assert_eq!(
        staff.roles["Field desk"],
        [Role::Dispatcher, Role::Approver]
    );
    assert_eq!(staff.kinds, [ActorKind::Person].into());
    assert!(crate::parts::issuers(&config.settings.auth).is_ok());

    let config = load(table, &by_variable, &[]).unwrap();
    let robots = issuer(&config);
    assert_eq!(config.settings.auth.leeway_seconds, 7);
    assert_eq!((robots.name.as_str(), robots.any_tenant), ("robots", true));

    for (wrong, said) in [
        (table.replace("RS256", "HS256"), "HS256"),
        (table.replace("RS256", "none"), "none"),
        (table.replace("audiences", "audience"), "audience"),
        (table.replace("dispatcher", "boss"), "boss"),
    ] {
        let message = load(&wrong, &[], &[]).unwrap_err().message;
        assert!(
            message.contains("auth.issuers") && message.contains(said),
            "{message}"
        );
    }
    let both = load(
        &table.replace("algorithm", "any_tenant = true\nalgorithm"),
        &[],
        &[],
    )
    .unwrap();
    let message = crate::parts::issuers(&both.settings.auth)
        .unwrap_err()
        .message;
    assert!(message.contains("exactly one of `tenant`"), "{message}");
}
