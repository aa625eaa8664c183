import MQTT
import NIOCore

/// Messages of one client that are on their way to the broker, in order, and at most so many of QoS 1 and 2 that were
/// not acknowledged.
struct PublishWindow {
    /// The client keeps no more events for a reader than 256, and each message makes one.
    static let messagesMax = 200

    private let client: MQTTClient
    private var events: AsyncStream<MQTTClient.Event>.Iterator
    private let messagesMax: Int
    private let clock: AnswerClock?
    private(set) var outstanding: [PublishID: UInt64] = [:]
    /// Called with the mark of each message that reached its guarantee.
    private let completed: @Sendable (UInt64) -> Void

    init(
        _ client: MQTTClient,
        messagesMax: Int,
        clock: AnswerClock? = nil,
        completed: @escaping @Sendable (UInt64) -> Void = { _ in }
    ) {
        self.client = client
        self.clock = clock
        events = client.events.makeAsyncIterator()
        self.messagesMax = min(messagesMax, Self.messagesMax)
        self.completed = completed
    }

    /// Returns once the message has its place; throws where one before it was refused.
    mutating func publish(
        _ payload: ByteBuffer,
        to topic: String,
        qos: QoS,
        retain: Bool = false,
        properties: Properties = Properties(),
        mark: UInt64 = 0
    ) async throws {
        clock?.ask()
        guard qos > .atMostOnce else {
            try await client.publish(payload, to: topic, qos: qos, retain: retain, properties: properties)
            clock?.answer()
            completed(mark)
            return
        }
        while outstanding.count >= messagesMax { try await awaitOne() }
        let id = try await client.enqueue(payload, to: topic, qos: qos, retain: retain, properties: properties)
        outstanding[id] = mark
    }

    /// Returns once all messages have reached their guarantees.
    mutating func finish() async throws {
        while !outstanding.isEmpty { try await awaitOne() }
    }

    private mutating func awaitOne() async throws {
        while let event = await events.next() {
            switch event {
            case .published(let id):
                guard let mark = outstanding.removeValue(forKey: id) else { continue }
                clock?.answer()
                return completed(mark)
            case .publishFailed(let id, let error):
                if outstanding.removeValue(forKey: id) != nil { throw error }
            case .closed(let error?): throw error
            default: continue
            }
        }
        throw Task.isCancelled ? MQTTError.cancelled : MQTTError.closed
    }
}
