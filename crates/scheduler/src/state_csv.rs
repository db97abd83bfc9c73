//! `build_state.csv` in the Azure toolkit's columns, for the tools that read it.

use crate::plan::{PlanDocument, PlannedAction};
use crate::run::RunSummary;

/// Returns the file's text, sorted by package: `Package,State,Blocker,IsTest`.
///
/// As in the Azure toolkit, a blocked package is `Failed` with the packages that block it; unlike there, the
/// blockers name specs, and rows have an order.
pub(crate) fn state_csv(plan: &PlanDocument, summary: &RunSummary) -> String {
    let mut rows: Vec<String> = plan
        .packages
        .iter()
        .map(|package| {
            let name = &package.package;
            let (state, blocker) = match &package.action {
                PlannedAction::UpToDate | PlannedAction::Ignored => ("PreBuilt", String::new()),
                PlannedAction::Blocked { obstacles } => ("Failed", obstacles.join("; ")),
                PlannedAction::Build { .. } => built_state(name, summary),
            };
            format!("{},{state},{},0", quoted(name), quoted(&blocker))
        })
        .collect();
    rows.sort();
    format!("Package,State,Blocker,IsTest\n{}\n", rows.join("\n"))
}

fn built_state(name: &String, summary: &RunSummary) -> (&'static str, String) {
    if let Some(by) = summary.blocked.get(name) {
        ("Failed", by.iter().cloned().collect::<Vec<_>>().join(" "))
    } else if summary.failed.contains_key(name) {
        ("Failed", name.clone())
    } else if summary.not_started.contains(name) {
        ("Failed", String::new())
    } else {
        ("Built", String::new())
    }
}

/// Returns a field as CSV writes it (RFC 4180).
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PlannedPackage;
    use std::collections::BTreeSet;

    #[test]
    fn rows_tell_failed_from_blocked() {
        let package = |name: &str, action: PlannedAction| PlannedPackage {
            package: name.into(),
            level: 0,
            action,
            needs: Vec::new(),
            estimate_seconds: 0.0,
        };
        let build = || PlannedAction::Build { reasons: Vec::new() };
        let plan = PlanDocument {
            schema: PlanDocument::SCHEMA,
            goals: Vec::new(),
            packages: vec![
                package("zlib", PlannedAction::UpToDate),
                package("onig", build()),
                package("jq", build()),
                package("bad", PlannedAction::Blocked { obstacles: vec!["nothing provides `a, b`".into()] }),
                package("tree", build()),
            ],
            critical_path_seconds: 0.0,
            work_seconds: 0.0,
        };
        let mut summary = RunSummary { built: vec!["tree".into()], ..RunSummary::default() };
        summary.failed.insert("onig".into(), "boom".into());
        summary.blocked.insert("jq".into(), BTreeSet::from(["onig".to_owned()]));
        assert_eq!(
            state_csv(&plan, &summary),
            "Package,State,Blocker,IsTest\nbad,Failed,\"nothing provides `a, b`\",0\njq,Failed,onig,0\n\
             onig,Failed,onig,0\ntree,Built,,0\nzlib,PreBuilt,,0\n"
        );
    }
}
