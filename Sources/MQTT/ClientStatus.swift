import MQTTPackets
import Synchronization

extension MQTTClient {
    /// A connection that was made.
    public struct Connection: Sendable, Hashable {
        /// The one of the session; assigned by the server where none was given (section 3.2.2.3.7).
        public let clientID: String
        /// Whether the server had the session (section 3.2.2.1.1).
        public let sessionPresent: Bool
        /// Those of CONNACK (section 3.2.2.3): what the server supports, and its limits.
        public let properties: Properties
        /// The server that it leads to.
        public let server: ServerAddress
    }

    /// Whether there is a connection.
    public enum ConnectionState: Sendable, Hashable {
        /// `run()` was not called yet, or a connection was lost and the next attempt has not begun.
        case disconnected
        /// An attempt is under way.
        case connecting
        /// CONNACK has come.
        case connected(Connection)
        /// The client has ended, and does not connect again.
        case closed
    }

    /// What happens to a client.
    public enum Event: Sendable, Hashable {
        /// CONNACK has come.
        case connected(Connection)
        /// A connection, or an attempt to make one, is over.
        case disconnected(MQTTError)
        /// The next attempt, with its number since the last connection.
        case reconnecting(in: Duration, attempt: Int)
        /// A message that was enqueued reached the guarantee of its QoS.
        case published(PublishID)
        /// A message that was enqueued will not be published.
        case publishFailed(PublishID, MQTTError)
        /// The server has lost the session and refuses the filter now; its sequence has ended.
        case subscriptionLost(filter: String, ReasonCode)
        /// The server has accepted new credentials (section 4.12.1).
        case reauthenticated
        /// The client has ended: nil where it was asked to. Nothing follows.
        case closed(MQTTError?)
    }
}

/// What the tasks of an application see of a client.
final class ClientStatus: Sendable {
    private struct State {
        var connection = MQTTClient.ConnectionState.disconnected
        /// Why it has closed, where it was not asked to.
        var failure: MQTTError?
        var hasBegun = false
        var lastID = 0
        var streams: [Int: AsyncStream<MQTTClient.Event>.Continuation] = [:]
        var waiting: [Int: CheckedContinuation<Result<MQTTClient.Connection, MQTTError>, Never>] = [:]
    }

    /// Events that a slow reader is kept; then it loses the oldest.
    private static let eventsKept = 256

    private let state = Mutex(State())

    var connection: MQTTClient.ConnectionState { state.withLock { $0.connection } }

    /// Why the client has ended; nil where that was asked for.
    var failure: MQTTError? { state.withLock { $0.failure } }

    /// False where it has begun before.
    func begin() -> Bool {
        state.withLock { state in
            defer { state.hasBegun = true }
            return !state.hasBegun
        }
    }

    func events() -> AsyncStream<MQTTClient.Event> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: MQTTClient.Event.self,
            bufferingPolicy: .bufferingNewest(Self.eventsKept)
        )
        let id = state.withLock { state -> Int? in
            guard state.connection != .closed else { return nil }
            state.lastID += 1
            state.streams[state.lastID] = continuation
            return state.lastID
        }
        guard let id else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in self?.remove(id) }
        return stream
    }

    private func remove(_ id: Int) {
        _ = state.withLock { $0.streams.removeValue(forKey: id) }
    }

    var hasListeners: Bool { state.withLock { !$0.streams.isEmpty } }

    func emit(_ event: MQTTClient.Event) {
        let streams = state.withLock { Array($0.streams.values) }
        for stream in streams { stream.yield(event) }
    }

    func changed(to connection: MQTTClient.ConnectionState) {
        let waiting = state.withLock { state in
            guard state.connection != .closed else { return Self.nobody }
            state.connection = connection
            guard case .connected = connection else { return Self.nobody }
            defer { state.waiting = [:] }
            return Array(state.waiting.values)
        }
        guard case .connected(let made) = connection else { return }
        for waiter in waiting { waiter.resume(returning: .success(made)) }
        emit(.connected(made))
    }

    private static let nobody: [CheckedContinuation<Result<MQTTClient.Connection, MQTTError>, Never>] = []

    func closed(_ error: MQTTError?) {
        emit(.closed(error))
        let (streams, waiting) = state.withLock { state in
            state.connection = .closed
            state.failure = error
            defer {
                state.streams = [:]
                state.waiting = [:]
            }
            return (Array(state.streams.values), Array(state.waiting.values))
        }
        for waiter in waiting { waiter.resume(returning: .failure(error ?? .closed)) }
        for stream in streams { stream.finish() }
    }

    /// The connection, once there is one.
    func connected() async throws(MQTTError) -> MQTTClient.Connection {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation(isolation: nil) { continuation in wait(id, continuation) }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: id) }?.resume(returning: .failure(.cancelled))
        }
        return try result.get()
    }

    private func wait(_ id: Int, _ continuation: CheckedContinuation<Result<MQTTClient.Connection, MQTTError>, Never>) {
        let result = state.withLock { state -> Result<MQTTClient.Connection, MQTTError>? in
            if case .connected(let connection) = state.connection { return .success(connection) }
            if state.connection == .closed { return .failure(state.failure ?? .closed) }
            if Task.isCancelled { return .failure(.cancelled) }
            state.waiting[id] = continuation
            return nil
        }
        if let result { continuation.resume(returning: result) }
    }
}
