import ArgumentParser
import MQTTJournal
import MQTTPackets
import MQTTStore
import NIOCore

/// Writes the journal that `Benchmarks/start` has a broker start on, through the store's own interface.
@main
struct StartData: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start-data",
        abstract: "Write a journal with queued and retained messages into a new folder."
    )

    @Argument(help: "The folder.")
    var directory: String

    @Option(help: "Sessions, each with a subscription.")
    var sessions = 10_000

    @Option(help: "Messages in the queues of all sessions.")
    var messages = 1_000_000

    @Option(help: "Retained messages.")
    var retained = 100_000

    @Option(help: "Bytes of each payload.")
    var payloadBytes = 200

    func validate() throws {
        guard sessions > 0, messages >= 0, retained >= 0, payloadBytes > 0 else {
            throw ValidationError("There is at least one session, and no number is below 0.")
        }
    }

    func run() async throws {
        let journal = Journal(directory: directory)
        let state = try await journal.open()
        guard state.sessions.isEmpty, state.retained.isEmpty else {
            throw ValidationError("\(directory) has something in it.")
        }
        try await commit(sessions, to: journal) { number in
            let incarnation = UInt64(number + 1)
            let subscription = StoredSubscription(
                filter: "site/\(number)/#",
                options: SubscriptionOptions(qos: .atLeastOnce),
                identifier: 0
            )
            return [
                .sessionBegan(incarnation: incarnation, clientID: "client-\(number)", expiryInterval: .max),
                .subscribed(subscription, incarnation: incarnation),
                .sessionDisconnected(incarnation: incarnation, at: 0),
            ]
        }
        try await commit(messages, to: journal) { number in
            let message = message("site/\(number % sessions)/measurement/\(number % 7)", number)
            let stored = StoredMessage(number: UInt64(number / sessions), message: message, qos: .atLeastOnce)
            return [.queued(stored, incarnation: UInt64(number % sessions + 1))]
        }
        try await commit(retained, to: journal) { number in
            let message = message("site/\(number % 1_000)/device/\(number / 1_000)/state", number)
            return [.retained(StoredRetained(message, version: UInt64(number + 1)))]
        }
        await journal.close()
    }

    private func message(_ topic: String, _ number: Int) -> Message {
        let text = "\(number) "
        let filler = String(repeating: "x", count: max(0, payloadBytes - text.utf8.count))
        return Message(Publish(topic: topic, payload: ByteBuffer(string: text + filler), qos: .atLeastOnce))
    }

    private func commit(_ count: Int, to journal: Journal, _ changes: (Int) -> [StoreChange]) async throws {
        for start in stride(from: 0, to: count, by: 1_000) {
            let broker = StoredBroker(
                time: 0,
                wallClock: 0,
                lastIncarnation: UInt64(sessions),
                lastRetainedVersion: UInt64(retained)
            )
            let batch = (start..<min(count, start + 1_000)).flatMap(changes)
            try await journal.commit([.broker(broker)] + batch)
        }
    }
}
