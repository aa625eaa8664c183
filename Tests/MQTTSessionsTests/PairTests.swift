import MQTTPackets
import MQTTSessions
import NIOCore
import Testing

@Suite struct PairTests {
    @Test(
        "[MQTT-4.3.2-1] [MQTT-4.3.3-1] QoS 1 at least once, QoS 2 exactly once, in order: over a link cut at any byte",
        arguments: ProtocolVersion.allCases
    )
    func cuts(_ version: ProtocolVersion) {
        withSeed { generator, seed in
            for run in 0..<300 {
                var plan = Plan(version, SeededGenerator(seed: generator.next()))
                if let failure = plan.run() {
                    Issue.record("run \(run): \(failure), seed \(seed)")
                    return
                }
            }
        }
    }
}

/// What is to happen in one run, and what must be true in the end.
private struct Plan {
    private enum Action {
        case publishFromClient(QoS)
        case publishFromBroker(QoS)
        case subscribe
        case take
        case cut
        case connect
    }

    private var generator: SeededGenerator
    private var pair: Pair
    private var actions: [(at: Int64, action: Action)] = []
    private var fromClient: [Publish] = []
    private var fromBroker: [Publish] = []
    /// Of publishes at QoS 1 and 2.
    private var numbers: [UInt64] = []

    init(_ version: ProtocolVersion, _ seeded: SeededGenerator) {
        var generator = seeded
        pair = Pair(version, &generator)
        // Between a hectic minute and a quiet one.
        let length = Int64.random(in: 500...8_000, using: &generator)
        let messages = Int.random(in: 1...80, using: &generator)
        for _ in 0..<messages {
            let qos = QoS(rawValue: UInt8.random(in: 0...2, using: &generator)) ?? .atMostOnce
            let isClient = Bool.random(using: &generator)
            let at = Int64.random(in: 0...length, using: &generator)
            actions.append((at, isClient ? .publishFromClient(qos) : .publishFromBroker(qos)))
        }
        for _ in 0..<Int.random(in: 0...20, using: &generator) {
            actions.append((Int64.random(in: 0...length, using: &generator), .cut))
        }
        for _ in 0..<3 { actions.append((Int64.random(in: 0...length, using: &generator), .subscribe)) }
        for _ in 0..<messages { actions.append((Int64.random(in: 0...length, using: &generator), .take)) }
        for at in stride(from: 0, through: length, by: 50) { actions.append((at, .connect)) }
        actions.append((length + 1, .connect))
        actions.sort { $0.at < $1.at }
        self.generator = generator
    }

    mutating func run() -> String? {
        do {
            for (at, action) in actions {
                while let due = pair.nextDue, due <= at { try pair.step(&generator) }
                perform(action, at: at)
            }
            var steps = 0
            while pair.nextDue != nil || pair.take(at: 0, all: true, &generator) {
                try pair.step(&generator)
                steps += 1
                if steps > 1_000_000 { return "does not come to rest" }
            }
        } catch {
            return "\(error)"
        }
        return failureAtRest() ?? failure(fromClient, pair.broker.routed) ?? failure(fromBroker, pair.messages)
    }

    private mutating func perform(_ action: Action, at time: Int64) {
        switch action {
        case .take: _ = pair.take(at: time, all: false, &generator)
        case .cut: pair.cut(at: time)
        case .connect: pair.connect(at: time, &generator)
        case .subscribe:
            guard pair.client.isConnected && pair.isUp else { return }
            pair.act(at: time, &generator) { _ = $0.client.subscribe([Subscribe.Filter("a")]) }
        case .publishFromClient(let qos):
            let publish = message(fromClient.count, qos)
            fromClient.append(publish)
            var number: UInt64?
            pair.act(at: time, &generator) { number = $0.client.publish(publish) }
            if let number { numbers.append(number) }
        case .publishFromBroker(let qos):
            let publish = message(fromBroker.count, qos)
            fromBroker.append(publish)
            pair.act(at: time, &generator) { $0.broker.publish(publish) }
        }
    }

    private mutating func message(_ number: Int, _ qos: QoS) -> Publish {
        let padding = String(repeating: ".", count: Int.random(in: 0...40, using: &generator))
        return Publish(topic: "t", payload: ByteBuffer(string: "\(number) \(padding)"), qos: qos)
    }

    private func failureAtRest() -> String? {
        if !pair.isUp || !pair.client.isConnected { return "not connected" }
        if !pair.client.outbound.isEmpty { return "the client's queue is not empty" }
        if !pair.broker.session.outbound.isEmpty { return "the broker's queue is not empty" }
        if pair.client.outbound.bytesHeld + pair.broker.session.outbound.bytesHeld != 0 { return "bytes are held" }
        if pair.client.outbound.inFlight + pair.broker.session.outbound.inFlight != 0 { return "quota is used" }
        if pair.broker.session.inbound.unreleased.count != 0 { return "identifiers are not released" }
        if pair.broker.session.inbound.unacknowledged != 0 { return "PUBLISH packets are counted" }
        if pair.published.sorted() != numbers { return "told of \(pair.published) instead of \(numbers)" }
        if Set(pair.subscribed).count != pair.subscribed.count { return "SUBACK twice" }
        return nil
    }

    /// What is wrong with what arrived, connection by connection.
    private func failure(_ sent: [Publish], _ arrived: [[Publish]]) -> String? {
        func number(_ publish: Publish) -> Int {
            Int(String(buffer: publish.payload).prefix { $0 != " " }) ?? -1
        }
        for connection in arrived {
            let numbers = connection.filter { $0.qos != .atMostOnce }.map(number)
            if !zip(numbers, numbers.dropFirst()).allSatisfy(<) { return "order within a connection: \(numbers)" }
        }
        let all = arrived.flatMap(\.self)
        for message in all where number(message) < 0 || sent[number(message)].payload != message.payload {
            return "another payload"
        }
        func numbers(_ messages: [Publish], _ qos: QoS) -> [Int] { messages.filter { $0.qos == qos }.map(number) }
        let exactlyOnce = numbers(all, .exactlyOnce)
        if exactlyOnce != numbers(sent, .exactlyOnce) { return "QoS 2: \(exactlyOnce)" }
        var seen: Set<Int> = []
        let atLeastOnce = numbers(all, .atLeastOnce).filter { seen.insert($0).inserted }
        if atLeastOnce != numbers(sent, .atLeastOnce) { return "QoS 1: \(atLeastOnce)" }
        let atMostOnce = numbers(all, .atMostOnce)
        if !zip(atMostOnce, atMostOnce.dropFirst()).allSatisfy(<) { return "QoS 0: \(atMostOnce)" }
        return nil
    }
}
