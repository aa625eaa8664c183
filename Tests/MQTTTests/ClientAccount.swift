import MQTT
import Synchronization

/// What was published and what has come, as both programs of a simulation saw it.
final class ClientAccount: Sendable {
    struct Entry: Sendable, Hashable {
        let number: Int
        let qos: QoS
    }

    private struct State {
        var lastNumber = 0
        var accepted: Set<Entry> = []
        var names: [PublishID: Entry] = [:]
        var failed: Set<Entry> = []
        var taken: [Entry] = []
        var ends: Set<QoS> = []
    }

    private let state = Mutex(State())
    private static let last = "last"

    // MARK: The sender

    /// The number of the next message, up to `count`.
    func next(upTo count: Int) -> Int? {
        state.withLock { state in
            guard state.lastNumber < count else { return nil }
            state.lastNumber += 1
            return state.lastNumber
        }
    }

    func accepted(_ number: Int, _ qos: QoS, _ id: PublishID) {
        state.withLock { state in
            let entry = Entry(number: number, qos: qos)
            state.accepted.insert(entry)
            state.names[id] = entry
        }
    }

    func failed(_ ids: [PublishID]) {
        state.withLock { state in state.failed.formUnion(ids.compactMap { state.names[$0] }) }
    }

    /// Another client names its messages anew.
    func forgetNames() { state.withLock { $0.names = [:] } }

    /// What ends the plan, once at QoS 1 and once at QoS 2.
    func publishLast(_ client: MQTTClient) async throws {
        for qos in [QoS.atLeastOnce, .exactlyOnce] {
            // It may be too old before there is a connection.
            while true {
                do throws(MQTTError) {
                    try await client.publish(Self.last, to: "t", qos: qos)
                    break
                } catch {
                    guard error == .expired else { throw error }
                }
            }
        }
    }

    // MARK: The receiver

    /// True once nothing more is to come.
    func taken(_ message: MQTTMessage) -> Bool {
        state.withLock { state in
            let words = message.payloadString.split(separator: " ")
            if words.first == Self.last[...] { state.ends.insert(message.qos) }
            if let number = words.first.flatMap({ Int($0) }) {
                state.taken.append(Entry(number: number, qos: message.qos))
            }
            return state.ends == [.atLeastOnce, .exactlyOnce]
        }
    }

    // MARK: Afterwards

    struct Disagreement: Error, CustomStringConvertible {
        let description: String
    }

    /// - Parameter mayLose: the session of the receiver may have ended meanwhile.
    func check(mayLose: Bool) throws {
        let state = state.withLock { $0 }
        func require(_ condition: Bool, _ what: String) throws {
            if !condition { throw Disagreement(description: what) }
        }
        for qos in QoS.allCases {
            let numbers = state.taken.filter { $0.qos == qos }.map(\.number)
            var seen: Set<Int> = []
            let first = numbers.filter { seen.insert($0).inserted }
            try require(first == first.sorted(), "\(qos) in another order: \(first)")
            if qos != .atLeastOnce { try require(first.count == numbers.count, "\(qos) repeated: \(numbers)") }
        }
        let taken = Set(state.taken)
        let untrue = state.failed.intersection(taken)
        try require(untrue.isEmpty, "failed, and has arrived: \(untrue)")
        guard !mayLose else { return }
        let lost = state.accepted.subtracting(state.failed).subtracting(taken).filter { $0.qos != .atMostOnce }
        try require(lost.isEmpty, "lost: \(lost)")
    }
}
