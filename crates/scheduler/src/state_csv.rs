//! `build_state.csv` in the Azure toolkit's columns, for the tools that read it.

use crate::plan::{PlanDocument, PlannedAction};
use crate::run::RunSummary;

/// Returns the file's text, sorted by package: `Package,State,Blocker,IsTest`.
///
/// As in the Azure toolkit, a blocked package is `Failed` with the packages that block it, and one whose packages were
/// fetched instead of being built is `PreBuiltDelta`; unlike there, the blockers name specs, and rows have an order.
pub(crate) fn state_csv(plan: &PlanDocument, summary: &RunSummary) -> String {
    let mut rows: Vec<String> = plan
        .packages
        .iter()
        .map(|package| {
            let name = &package.package;
            let (state, blocker) = match &package.action {
                _ if summary.has_built(name) && summary.reused.contains(name) => {
                    ("PreBuiltDelta", String::new())
                }
                _ if summary.has_built(name) => ("Built", String::new()),
                _ if summary.failed.contains_key(name) => ("Failed", name.clone()),
                PlannedAction::UpToDate | PlannedAction::Deferred { .. } | PlannedAction::Ignored => {
                    ("PreBuilt", String::new())
                }
                PlannedAction::Blocked { causes } | PlannedAction::Waiting { causes } => {
                    let causes = causes.iter().filter_map(|cause| plan.causes.get(*cause));
                    let texts: Vec<String> = causes.map(|root| root.cause.to_string()).collect();
                    ("Failed", texts.join("; "))
                }
                PlannedAction::Build { .. } => ("Failed", blockers(name, summary)),
            };
            format!("{},{state},{},0", quoted(name), quoted(&blocker))
        })
        .collect();
    rows.sort();
    format!("Package,State,Blocker,IsTest\n{}\n", rows.join("\n"))
}

/// Returns what a package that was to be built waited for in vain; nothing when the run was stopped.
fn blockers(name: &str, summary: &RunSummary) -> String {
    let by = summary.blocked.get(name);
    by.map(|by| by.iter().cloned().collect::<Vec<_>>().join(" ")).unwrap_or_default()
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
    use crate::plan::tests::{Scene, plan_of};
    use crate::rounds::Rounds;

    #[test]
    fn rows_tell_failed_from_blocked() {
        let mut scene = Scene::new(&["zlib:", "onig:", "jq: onig", "bad: !a", "tree:", "taken:"]);
        scene.build("zlib", None);
        let plan = plan_of(&scene, &Rounds::default());
        let mut summary = RunSummary { built: vec!["tree".into()], ..RunSummary::default() };
        summary.identical = vec!["taken".into()];
        summary.reused = ["taken".to_owned()].into();
        summary.failed.insert("onig".into(), "boom".into());
        summary.blocked.insert("jq".into(), ["onig".to_owned()].into());
        assert_eq!(
            state_csv(&plan, &summary),
            "Package,State,Blocker,IsTest\nbad,Failed,nothing provides `a`,0\njq,Failed,onig,0\n\
             onig,Failed,onig,0\ntaken,PreBuiltDelta,,0\ntree,Built,,0\nzlib,PreBuilt,,0\n"
        );
        assert_eq!(quoted("a, \"b\""), "\"a, \"\"b\"\"\"");
    }
}
