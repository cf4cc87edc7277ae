//! Does what a person wants of the memory itself, and says what was done.

use std::time::Duration;

use solo_service::RequestContext;

use crate::dialogue::Key;
use crate::error::Error;
use crate::reply::Mind;
use crate::upstream::Forget;
use crate::wishes::Wish;

/// What was said a moment ago is read first, but not for longer than a person waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// Facts that are told at once.
const TOLD: u32 = 12;
/// Facts that are looked through for those of a dialogue.
const LOOKED_THROUGH: u32 = 200;
/// Facts near what is to be forgotten.
const NEAR: u32 = 3;
/// Facts less like what is named than this are not what is meant.
const LEAST_LIKE: f32 = 0.45;

/// Grants a wish in a turn; the answer, as it is said.
///
/// # Errors
/// memory-svc or the database that cannot do it; then nothing is said to be done.
pub async fn grant(mind: &Mind, request: &RequestContext, key: &Key, turn: &str, wish: &Wish) -> Result<String, Error> {
    mind.learner.caught_up(PATIENCE).await;
    match wish {
        Wish::TellWhatIsKnown => tell(mind, request).await,
        Wish::ForgetLast => forget_last(mind, request, key).await,
        Wish::Forget(about) => forget(mind, request, about).await,
        Wish::DeleteEverything => Ok(
            "That deletes all documents, facts and conversations that I keep of you, for good. \
                                      Say “yes, delete everything” to do it."
                .into(),
        ),
        Wish::Confirm => delete_everything(mind, request, key, turn).await,
    }
}

async fn tell(mind: &Mind, request: &RequestContext) -> Result<String, Error> {
    let (facts, more) = mind.memory.list_facts(request, TOLD).await?;
    if facts.is_empty() {
        return Ok("You have not told me anything about you yet.".into());
    }
    let told: Vec<&str> = facts.iter().map(|fact| fact.text.as_str()).collect();
    let rest = if more { " And there is more." } else { "" };
    Ok(format!("You told me: {}{rest}", told.join(" ")))
}

/// Forgets what was learnt from the latest turn of this dialogue from which something was.
async fn forget_last(mind: &Mind, request: &RequestContext, key: &Key) -> Result<String, Error> {
    let (facts, _) = mind.memory.list_facts(request, LOOKED_THROUGH).await?;
    let here = format!("{}/", key.dialogue);
    let Some(newest) = facts.iter().find(|fact| fact.provenance.starts_with(&here)) else {
        return Ok("I have kept nothing of what you said here.".into());
    };
    let last: Vec<_> = facts
        .iter()
        .filter(|fact| fact.provenance == newest.provenance)
        .collect();
    for fact in &last {
        mind.memory.forget(request, Forget::Fact(fact.id.clone())).await?;
    }
    Ok(forgotten(last.iter().map(|fact| fact.text.as_str())))
}

async fn forget(mind: &Mind, request: &RequestContext, about: &str) -> Result<String, Error> {
    let near = mind.memory.near_facts(request, about, NEAR).await?;
    let meant: Vec<_> = near.iter().filter(|fact| fact.likeness >= LEAST_LIKE).collect();
    if meant.is_empty() {
        return Ok("I know nothing about that.".into());
    }
    for fact in &meant {
        mind.memory.forget(request, Forget::Fact(fact.id.clone())).await?;
    }
    Ok(forgotten(meant.iter().map(|fact| fact.text.as_str())))
}

fn forgotten<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<String> = texts.map(|text| format!("“{}”", text.trim_end_matches('.'))).collect();
    format!("I have forgotten {}.", texts.join(" and "))
}

/// Deletes what the memory has and every conversation, this one's earlier turns included.
async fn delete_everything(mind: &Mind, request: &RequestContext, key: &Key, turn: &str) -> Result<String, Error> {
    let (facts, documents) = mind.memory.forget(request, Forget::Everything).await?;
    let dialogues = mind.store.delete_all_but(key, turn).await?;
    mind.gauges.set_totals(mind.store.counts().await?);
    Ok(format!(
        "I have deleted {documents} documents, {facts} facts and {dialogues} other conversations. I know nothing about you any more."
    ))
}
