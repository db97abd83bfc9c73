//! Questions about the graph of a tree, asked of `millwright` itself: answers on standard output, and nothing is built.

use serde_json::Value;

use crate::spec::Spec;
use crate::tree::Tree;

#[test]
fn the_graph_answers_questions_in_every_form() {
    let Some(tree) = Tree::new("graph") else { return };
    tree.spec(&Spec::data("base"));
    tree.spec(&Spec::data("middle").tag("BuildRequires: base"));
    tree.spec(&Spec::data("top").tag("BuildRequires: middle >= 1.0"));
    let asked = tree.millwright(&["graph", "--quiet", "--needed-by", "base", "--depth", "0"]);
    asked.exits(0);
    assert_eq!(
        asked.stdout,
        "base is needed by 2 specs, 1 directly\n\nlevel 1\n  middle  BuildRequires: base\n\n\
         level 2\n  top  BuildRequires: middle >= 1.0\n"
    );
    assert!(tree.path("build/pkg_artifacts/graph.dot").is_file());
    let asked = tree.millwright(&["graph", "--json", "--path", "top", "base"]);
    let answer = asked.exits(0).stdout.find("{\n").map(|start| &asked.stdout[start..]);
    let answer: Value = serde_json::from_str(answer.unwrap()).unwrap();
    assert_eq!((&answer["answer"], &answer["scope"]), (&Value::from("path"), &Value::from("build")));
    tree.millwright(&["graph", "--quiet", "middle", "--output", "middle.svg"]).exits(0);
    assert!(tree.read("middle.svg").contains("<title>top → middle\nBuildRequires: middle &gt;= 1.0</title>"));
    let provider = tree.millwright(&["graph", "--quiet", "--provider", "middle"]);
    provider.exits(0);
    assert!(provider.stdout.contains("asked for by\n  top requires `middle >= 1.0`"), "{}", provider.stdout);
    tree.millwright(&["graph", "--needed-by", "midle"]).exits(2).says(&["did you mean middle?"]);
    tree.millwright(&["graph", "--path", "base", "top"]).exits(1);
    assert!(tree.records().is_empty(), "a question builds nothing");
}
