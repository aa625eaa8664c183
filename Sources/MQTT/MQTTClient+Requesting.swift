import MQTTPackets
import NIOCore
import Synchronization

extension MQTTClient {
    /// Publishes a request, and gives the first response to it (MQTT 5.0, section 4.10). What answers publishes to the
    /// request's Response Topic with its Correlation Data.
    ///
    /// The first request subscribes to a topic for all responses, which the client keeps.
    ///
    /// - Throws: `requestTimedOut` where no response comes in time, `publishRefused` with `noMatchingSubscribers` where
    ///   the server says that nobody could answer.
    public func request(
        to topic: String,
        payload: ByteBuffer,
        qos: QoS = .atLeastOnce,
        timeout: Duration = .seconds(30),
        properties: Properties = Properties()
    ) async throws(MQTTError) -> MQTTMessage {
        guard configuration.version == .v5 else { throw .invalidArgument("requests need MQTT 5.0") }
        let responses = responses
        let id = responses.begin()
        let timer = eventLoop.scheduleTask(in: TimeAmount(timeout)) {
            responses.end(id, .failure(.requestTimedOut))
        }
        let asking = Task {
            do throws(MQTTError) {
                try await ask(id, topic, payload, qos, properties)
            } catch {
                responses.end(id, .failure(error))
            }
        }
        defer {
            timer.cancel()
            asking.cancel()
            responses.forget(id)
        }
        return try await responses.response(id)
    }

    private func ask(
        _ id: UInt64,
        _ topic: String,
        _ payload: ByteBuffer,
        _ qos: QoS,
        _ properties: Properties
    ) async throws(MQTTError) {
        var properties = properties
        properties[string: .responseTopic] = try await responses.topic(of: self)
        properties[binary: .correlationData] = ByteBuffer(integer: id)
        let code = try await publish(payload, to: topic, qos: qos, properties: properties)
        if code == .noMatchingSubscribers { throw .publishRefused(code) }
    }

    /// Answers a request: publishes to its Response Topic, with its Correlation Data. Throws where it is no request.
    @discardableResult
    public func respond(
        to request: MQTTMessage,
        with payload: ByteBuffer,
        qos: QoS = .atLeastOnce,
        properties: Properties = Properties()
    ) async throws(MQTTError) -> ReasonCode {
        guard let topic = request.properties[string: .responseTopic] else {
            throw .invalidArgument("a message without a Response Topic is no request")
        }
        var properties = properties
        properties[binary: .correlationData] = request.properties[binary: .correlationData]
        return try await publish(payload, to: topic, qos: qos, properties: properties)
    }
}

/// Requests of one client that wait for their responses.
final class Responses: Sendable {
    private typealias Waiter = CheckedContinuation<Result<MQTTMessage, MQTTError>, Never>

    private enum Request {
        case open
        case waiting(Waiter)
        case ended(Result<MQTTMessage, MQTTError>)
    }

    private struct State {
        var requests: [UInt64: Request] = [:]
        var lastID: UInt64 = 0
        var subscribing: Task<Result<String, MQTTError>, Never>?
    }

    private let state = Mutex(State())

    func begin() -> UInt64 {
        state.withLock { state in
            state.lastID += 1
            state.requests[state.lastID] = .open
            return state.lastID
        }
    }

    func end(_ id: UInt64, _ result: Result<MQTTMessage, MQTTError>) {
        let waiter = state.withLock { state -> Waiter? in
            switch state.requests[id] {
            case .waiting(let waiter):
                state.requests[id] = nil
                return waiter
            case .open: state.requests[id] = .ended(result)
            case .ended, nil: break
            }
            return nil
        }
        waiter?.resume(returning: result)
    }

    func forget(_ id: UInt64) { state.withLock { $0.requests[id] = nil } }

    func response(_ id: UInt64) async throws(MQTTError) -> MQTTMessage {
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation(isolation: nil) { (waiter: Waiter) in
                let result = state.withLock { state -> Result<MQTTMessage, MQTTError>? in
                    if case .ended(let result) = state.requests[id] { return result }
                    if Task.isCancelled { return .failure(.cancelled) }
                    state.requests[id] = .waiting(waiter)
                    return nil
                }
                if let result { waiter.resume(returning: result) }
            }
        } onCancel: {
            end(id, .failure(.cancelled))
        }
        return try result.get()
    }

    /// Where responses are to go; subscribed to with the first request. An attempt that fails is made again.
    func topic(of client: MQTTClient) async throws(MQTTError) -> String {
        let subscribing = state.withLock { state in
            if let subscribing = state.subscribing { return subscribing }
            let subscribing = Task { await subscribe(client) }
            state.subscribing = subscribing
            return subscribing
        }
        let result = await subscribing.value
        if case .failure = result { state.withLock { $0.subscribing = nil } }
        return try result.get()
    }

    private func subscribe(_ client: MQTTClient) async -> Result<String, MQTTError> {
        do throws(MQTTError) {
            let connection = try await client.connected()
            let base = connection.properties[string: .responseInformation] ?? "responses"
            let topic = base + (base.hasSuffix("/") ? "" : "/") + String(UInt64.random(in: 0 ... .max), radix: 36)
            let subscription = try await client.subscribe(to: topic, qos: .atLeastOnce)
            Task { [self] in
                for await message in subscription { received(message) }
                closed()
            }
            return .success(topic)
        } catch {
            return .failure(error)
        }
    }

    private func received(_ message: MQTTMessage) {
        guard var data = message.properties[binary: .correlationData], let id = data.readInteger(as: UInt64.self) else {
            return
        }
        end(id, .success(message))
    }

    /// The subscription is over: the server took it back, or the client has ended.
    private func closed() {
        let open = state.withLock { state in
            state.subscribing = nil
            return Array(state.requests.keys)
        }
        for id in open { end(id, .failure(.closed)) }
    }
}
