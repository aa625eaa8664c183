import Logging
import MQTTPackets
import MQTTServer
import MQTTStore
import MQTTTesting
import NIOCore
import Synchronization
import Testing

/// What went wrong with a hook of a test.
struct HookFault: Error, CustomStringConvertible {
    let description = "the hook's own fault"
}

/// What a hook was called with, in order, for the test to wait for.
final class Calls<Value: Sendable>: Sendable {
    private let stream: AsyncStream<Value>
    private let continuation: AsyncStream<Value>.Continuation
    private let values = Mutex<[Value]>([])

    init() { (stream, continuation) = AsyncStream.makeStream(of: Value.self) }

    var all: [Value] { values.withLock { $0 } }

    func record(_ value: Value) {
        values.withLock { $0.append(value) }
        continuation.yield(value)
    }

    /// The next that was not waited for yet.
    func next() async throws -> Value {
        let stream = stream
        return try await within("a call of the hook") {
            for await value in stream { return value }
            throw CancellationError()
        }
    }
}

/// A door that hooks wait at, whether or not their task is cancelled.
final class Door: Sendable {
    private struct State {
        var isOpen = false
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    func pass() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }

    /// Until the task is cancelled.
    static func passWhenCancelled() async {
        let door = Door()
        await withTaskCancellationHandler {
            await door.pass()
        } onCancel: {
            door.open()
        }
    }

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}

/// Lines of the category `hooks`.
final class HookLog: Sendable {
    private let lines = Calls<Logger.Metadata>()

    var logger: Logger { Logger(label: "test") { [lines] _ in Handler(lines: lines) } }
    var hooks: [String] { lines.all.compactMap { $0["hook"].map { "\($0)" } } }
    var reasons: [String] { lines.all.compactMap { $0["reason"].map { "\($0)" } } }

    private struct Handler: LogHandler {
        let lines: Calls<Logger.Metadata>
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.warning

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            guard metadata["category"] == "hooks" else { return }
            lines.record(event.metadata ?? [:])
        }
    }
}

let hookVersions: [ProtocolVersion] = [.v3_1_1, .v5]

extension Connector {
    /// The answer to a CONNECT, which may be a refusal.
    func connack(_ connect: Connect) async throws -> (client: TestClient, connack: Connack) {
        let client = try await transport()
        client.version = connect.version
        try await client.send(.connect(connect))
        guard case .connack(let connack) = try await client.next() else { throw TimedOut(description: "no CONNACK") }
        return (client, connack)
    }

    /// What a CONNECT is refused with; the connection is closed behind it.
    func refusal(_ connect: Connect) async throws -> ReasonCode {
        let (client, connack) = try await connack(connect)
        #expect(!connack.sessionPresent)
        #expect(try await client.nextOrEnd() == nil)
        return connack.reasonCode
    }
}

extension ReasonCode {
    /// As a client of the version finds it in CONNACK.
    func inConnack(_ version: ProtocolVersion) throws -> ReasonCode {
        version == .v5 ? self : try #require(ReasonCode(connackReturnCode: connackReturnCode))
    }

    /// As a client of the version finds it in SUBACK.
    func inSuback(_ version: ProtocolVersion) -> ReasonCode { version == .v5 ? self : .unspecifiedError }

    /// As a client of the version finds it in PUBACK and PUBREC.
    func inPuback(_ version: ProtocolVersion) -> ReasonCode { version == .v5 ? self : .success }
}
