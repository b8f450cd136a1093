//! What happens to the tokens and credentials of a volume.

use provider::SecretBytes;

use super::*;

/// One token, for the audience `store`.
pub(super) fn token(token: &SecretBytes) -> Credentials {
    Credentials { tokens: BTreeMap::from([("store".to_owned(), token.clone())]), named: BTreeMap::new() }
}

/// One credential of `nodePublishSecretRef`.
fn secret_id(value: &SecretBytes) -> Credentials {
    Credentials { tokens: BTreeMap::new(), named: BTreeMap::from([("secret-id".to_owned(), value.clone())]) }
}

/// A node whose store needs tokens.
fn taking_tokens() -> Node {
    let node = Node::start();
    node.store.0.lock().unwrap().wants_tokens = true;
    node.class("a", |_| {});
    node.store.say("a", Say::Value("1"));
    node
}

async fn publish_with(node: &Node, credentials: Credentials) {
    node.volumes.publish(publish("v"), credentials).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn newer_credentials_take_the_place_of_older_ones_and_none_outlives_its_volume() {
    for of in [token, secret_id] {
        let node = Node::serving("a").await;
        let [first, second, third] =
            ["first", "second", "third"].map(|text| SecretBytes::from(text.to_owned()));

        publish_with(&node, of(&first)).await;
        assert!(first.is_held_elsewhere());
        publish_with(&node, of(&second)).await;
        assert!(second.is_held_elsewhere() && !first.is_held_elsewhere());
        sleep(ROUND * 3).await;
        publish_with(&node, of(&third)).await;
        assert!(third.is_held_elsewhere() && !second.is_held_elsewhere());

        node.unpublish("v").await;
        assert!(!third.is_held_elsewhere());
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_publish_that_fails_keeps_no_credential() {
    let node = taking_tokens();
    node.store.say("a", Say::Error(ErrorKind::Denied));
    let own = SecretBytes::from("own".to_owned());

    node.volumes.publish(publish("v"), token(&own)).await.unwrap_err();

    assert!(!own.is_held_elsewhere());
}

#[tokio::test(start_paused = true)]
async fn of_many_tokens_that_come_while_the_store_hangs_the_last_is_kept_and_used() {
    let node = taking_tokens();
    let tokens: Vec<_> = (0..100).map(|number| SecretBytes::from(format!("token-{number}"))).collect();
    publish_with(&node, token(&tokens[0])).await;
    node.store.say("a", Say::Hang);
    sleep(ROUND).await;

    for newer in &tokens[1..] {
        publish_with(&node, token(newer)).await;
    }

    let held: Vec<_> = (1..100).filter(|number| tokens[*number].is_held_elsewhere()).collect();
    assert_eq!(held, [99], "but for the one that is being used");
    node.store.say("a", Say::Value("2"));
    node.file_becomes("a", Some("2")).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.store.0.lock().unwrap().handed.last().map(String::as_str), Some("token-99"));
    assert!(!tokens[0].is_held_elsewhere());
}
