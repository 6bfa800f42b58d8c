use crate::testing::Manager;
use tokio_stream::StreamExt;
use tonic::{Code, codegen::http::uri::PathAndQuery};
use tonic_reflection::pb::{v1, v1alpha};

/// What every client finds by asking.
const SERVICES: [&str; 3] =
    ["cofferdam.v1.IsolationService", "cofferdam.v1.PolicySyncService", "grpc.health.v1.Health"];

#[tokio::test]
async fn reflection_v1_lists_and_describes() {
    use v1::{server_reflection_request::MessageRequest, server_reflection_response::MessageResponse};
    let manager = Manager::start().await;
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(manager.channel().await);
    let ask = |question| v1::ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let questions = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("cofferdam.v1.IsolationService.SetIsolationLevel".to_owned())),
    ];
    let mut answers = client.server_reflection_info(tokio_stream::iter(questions)).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) = answers.next().await.unwrap().unwrap().message_response
    else {
        panic!("not a list")
    };
    let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    assert!(SERVICES.iter().all(|name| names.iter().any(|listed| listed == name)), "{names:?}");
    let Some(MessageResponse::FileDescriptorResponse(files)) = answers.next().await.unwrap().unwrap().message_response
    else {
        panic!("not a file")
    };
    assert!(!files.file_descriptor_proto.is_empty());
}

#[tokio::test]
async fn reflection_v1alpha_lists_too() {
    use v1alpha::{server_reflection_request::MessageRequest, server_reflection_response::MessageResponse};
    let manager = Manager::start().await;
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(manager.channel().await);
    let question = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = client.server_reflection_info(tokio_stream::iter([question])).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(listed)) = answers.next().await.unwrap().unwrap().message_response
    else {
        panic!("not a list")
    };
    assert!(listed.service.iter().any(|service| service.name == SERVICES[0]));
}

#[tokio::test]
async fn what_is_not_there_is_unimplemented() {
    let manager = Manager::start().await;
    let mut raw = tonic::client::Grpc::new(manager.channel().await);
    for path in ["/cofferdam.v1.IsolationService/Nothing", "/cofferdam.v1.PolicySyncService/Nothing", "/no.Service/No"]
    {
        raw.ready().await.unwrap();
        let request = tonic::Request::new(bytes::Bytes::new());
        let path = PathAndQuery::from_static(path);
        let refused = raw.unary(request, path, cofferdam_proto::BytesCodec).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented);
    }
}
