use super::*;
use crate::transport::testing::{QUIC, TCP, pair};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_gets_its_answer() {
    for listen in [TCP, QUIC] {
        let (a, b) = pair(listen).await;
        let asker = a.host;
        serve_asks(&b.handle, move |from, mut request| async move {
            assert_eq!(from, asker);
            request.reverse();
            request
        })
        .unwrap();
        assert_eq!(ask(&a.handle, b.host, b"abc").await.unwrap(), b"cba", "{listen}");
        assert_eq!(ask(&a.handle, b.host, b"").await.unwrap(), b"", "{listen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_have_a_limit_and_up_to_it_arrive() {
    let (a, b) = pair(TCP).await;
    serve_asks(
        &b.handle,
        |_, request| async move { vec![7; ANSWER_BYTES_MAX + usize::from(request == b"more")] },
    )
    .unwrap();
    assert_eq!(ask(&a.handle, b.host, b"all").await.unwrap().len(), ANSWER_BYTES_MAX);
    let refused = ask(&a.handle, b.host, b"more").await;
    assert!(matches!(refused, Err(AskError::Io { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_answers_no_questions_and_one_that_is_not_there_are_told_apart() {
    let (a, b) = pair(TCP).await;
    let refused = ask(&a.handle, b.host, b"hello").await;
    assert!(matches!(refused, Err(AskError::Open { cause: OpenError::Protocol { .. }, .. })), "{refused:?}");
    let refused = ask(&a.handle, HostId::from_public_key([9; 32]), b"hello").await;
    assert!(matches!(refused, Err(AskError::Open { cause: OpenError::NoAddress(_), .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_questions_at_once_are_all_answered() {
    let (a, b) = pair(TCP).await;
    serve_asks(&b.handle, |_, request| async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        request
    })
    .unwrap();
    let asks = (0..100_u8).map(|number| {
        let handle = a.handle.clone();
        async move { (number, ask(&handle, b.host, &[number]).await.unwrap()) }
    });
    for (number, answer) in futures::future::join_all(asks).await {
        assert_eq!(answer, [number]);
    }
}
