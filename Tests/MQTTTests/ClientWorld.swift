import MQTT
import MQTTServer
import MQTTStore
import MQTTStoreTesting
import MQTTTesting
import NIOCore

/// A sender and a receiver, each over a link that does what a seed says to it.
final class ClientWorld {
    /// One of the two programs.
    private final class Side {
        let name: String
        let link: Link
        let store: (any MessageStore)?
        var client: MQTTClient?
        var running: Task<Void, any Error>?
        /// Publishes, or takes.
        var work: Task<Void, any Error>?
        /// Held until the client has ended: what was not taken is for the next one.
        var subscription: MQTTSubscription?
        /// What the client's events say has failed.
        var failures: Task<[PublishID], Never>?

        init(_ name: String, _ link: Link, _ store: (any MessageStore)?) {
            self.name = name
            self.link = link
            self.store = store
        }
    }

    private static let delayMax = Duration.milliseconds(300)

    private var random: SplitMix64
    private let version: ProtocolVersion
    private let account = ClientAccount()
    private let messages: Int
    /// Clients end at any moment, and others begin on what their stores have.
    private let restarts: Bool
    /// The broker forgets a receiver that is away for some seconds.
    private let expires: Bool
    private let queue: MQTTClient.QueueLimits
    private let receiveMaximum: Int
    private let sequenceBytesMax: Int
    private let isSlow: Bool
    private let receiverForgets: Bool

    init(seed: UInt64, receiverForgets: Bool = false) {
        var random = SplitMix64(seed: seed)
        version = random.pick(ProtocolVersion.allCases)
        messages = 1 + random.below(60)
        restarts = receiverForgets || random.oneIn(2)
        expires = !restarts && version == .v5 && random.oneIn(3)
        var queue = MQTTClient.QueueLimits()
        queue.messagesMax = random.pick([1, 5, 1_000])
        queue.attemptsMax = nil
        // A client that begins anew does not know of whom to tell.
        if !restarts && random.oneIn(2) {
            queue.policy = .dropOldest
            queue.ageMax = random.oneIn(2) ? .seconds(2) : nil
        }
        self.queue = queue
        receiveMaximum = random.pick([1, 3, 100])
        sequenceBytesMax = random.pick([1, 500, 1 << 20])
        isSlow = random.oneIn(3)
        self.random = random
        self.receiverForgets = receiverForgets
    }

    // MARK: The plan

    func run() async throws {
        let store: any MessageStore = random.oneIn(2) ? KeptStore() : VolatileStore()
        try await withBroker(store: store) { _, connect in
            let sender = Side("sender", try await connect.link("the sender's link"), restarts ? KeptStore() : nil)
            let keepsTaken = restarts && !receiverForgets
            let receiver = Side(
                "receiver",
                try await connect.link("the receiver's link"),
                keepsTaken ? KeptStore() : nil
            )
            do {
                try await play(sender, receiver, connect.clock)
            } catch {
                for side in [sender, receiver] { try await end(side, connect.clock) }
                throw error
            }
            for side in [sender, receiver] { try await end(side, connect.clock) }
            try account.check(mayLose: expires)
        }
    }

    private func play(_ sender: Side, _ receiver: Side, _ clock: TestClock) async throws {
        let client = try begin(receiver)
        let subscription = try await clock.letTimePass { try await client.subscribe(to: "t", qos: .exactlyOnce) }
        take(subscription, receiver, clock)
        publish(try begin(sender), sender, clock)
        for _ in 0..<(10 + random.below(30)) {
            let side = random.oneIn(2) ? sender : receiver
            if restarts && random.oneIn(8) { try await restart(side, clock) } else { try await spoil(side.link) }
            try await clock.advance(by: .milliseconds(random.below(random.oneIn(4) ? 20_000 : 400)))
        }
        for side in [sender, receiver] { try await heal(side.link) }
        let (publishing, taking) = (sender.work, receiver.work)
        try await clock.letTimePass { try await publishing?.value }
        guard let last = sender.client else { return }
        try await clock.letTimePass { try await last.flush() }
        // Whoever is forgotten while it is away misses what is published then.
        for attempt in 1...3 {
            try await clock.letTimePass { [account] in try await account.publishLast(last) }
            do {
                try await clock.letTimePass(upTo: .seconds(300)) { try await taking?.value }
                return
            } catch let error as TestingError {
                guard expires, attempt < 3 else {
                    let lines = receiver.link.transcript.lines.suffix(60).joined(separator: "\n")
                    throw TestingError(description: "\(error)\n\(lines)")
                }
            }
        }
    }

    private func spoil(_ link: Link) async throws {
        let direction: LinkDirection = random.oneIn(2) ? .toBroker : .toClient
        switch random.below(10) {
        case 0..<5: try await link.cut(after: 1 + random.below(1 << (1 + random.below(9))), direction)
        case 5: try await link.refuse(random.below(3))
        case 6: try await link.drop(random.oneIn(2) ? direction : nil)
        case 7: try await link.delay(Self.delayMax / 300 * random.below(300), direction)
        case 8: try await link.stall(direction)
        default: try await heal(link)
        }
    }

    private func heal(_ link: Link) async throws {
        try await link.accept()
        try await link.resume()
        try await link.delay(.zero)
    }

    // MARK: Clients

    private func configuration(_ side: Side) -> MQTTClient.Configuration {
        var configuration = side.link.configuration(clientID: side.name)
        configuration.version = version
        configuration.cleanStart = false
        configuration.sessionExpiry = expires && side.name == "receiver" ? .after(.seconds(5)) : .never
        configuration.keepAlive = .seconds(2)
        configuration.connectTimeout = .seconds(3)
        configuration.reconnect.delayMax = .seconds(4)
        configuration.queue = queue
        configuration.receiveMaximum = receiveMaximum
        configuration.sequenceBytesMax = sequenceBytesMax
        configuration.store = side.store
        return configuration
    }

    private func begin(_ side: Side, _ before: (MQTTClient) -> Void = { _ in }) throws -> MQTTClient {
        let client = try MQTTClient(configuration(side), logger: quiet)
        before(client)
        let events = client.events
        side.failures = Task {
            var failed: [PublishID] = []
            for await case .publishFailed(let id, _) in events { failed.append(id) }
            return failed
        }
        side.client = client
        side.running = Task { try await client.run() }
        return client
    }

    private func end(_ side: Side, _ clock: TestClock) async throws {
        side.work?.cancel()
        let (work, running, failures) = (side.work, side.running, side.failures)
        side.client?.close()
        try await clock.letTimePass {
            try await running?.value
            try await work?.value
        }
        account.failed(await failures?.value ?? [])
        side.client = nil
        side.subscription = nil
    }

    /// What the program does ends first: what it has taken when its client ends, that client acknowledges.
    private func restart(_ side: Side, _ clock: TestClock) async throws {
        side.work?.cancel()
        let work = side.work
        try await clock.letTimePass { try await work?.value }
        try await end(side, clock)
        // A CONNECT of the client before that came after the next one's would be another client for that one.
        try await heal(side.link)
        try await clock.advance(by: Self.delayMax)
        if side.name == "sender" {
            account.forgetNames()
            publish(try begin(side), side, clock)
        } else {
            // Its session has the subscription.
            _ = try begin(side) { take($0.unclaimedMessages(), side, clock) }
        }
    }

    private func publish(_ client: MQTTClient, _ side: Side, _ clock: TestClock) {
        var random = SplitMix64(seed: random.next())
        side.work = Task { [account, messages] in
            while let number = account.next(upTo: messages) {
                let qos = random.pick(QoS.allCases)
                let text = "\(number) " + String(repeating: "x", count: random.below(80))
                do throws(MQTTError) {
                    let id = try await client.enqueue(ByteBuffer(string: text), to: "t", qos: qos)
                    account.accepted(number, qos, id)
                } catch {
                    guard error == .cancelled || error == .closed else { throw error }
                    return
                }
                guard await clock.slept(random.below(500)) else { return }
            }
        }
    }

    private func take(_ subscription: MQTTSubscription, _ side: Side, _ clock: TestClock) {
        var random = SplitMix64(seed: random.next())
        side.subscription = subscription
        side.work = Task { [account, isSlow] in
            for await message in subscription {
                if account.taken(message) { return }
                if isSlow, await !clock.slept(random.below(200)) { return }
            }
        }
    }
}

extension TestClock {
    /// False where the task is cancelled meanwhile.
    fileprivate func slept(_ milliseconds: Int) async -> Bool {
        do { try await sleep(until: now.advanced(by: .milliseconds(milliseconds)), tolerance: nil) } catch {
            return false
        }
        return true
    }
}
