import Logging
import MQTT
import NIOCore
import Synchronization

/// A client of a measurement: it is not connected again once it is lost.
struct BenchClient: Sendable {
    let client: MQTTClient
    private let running: Task<Void, any Error>

    init(_ configuration: MQTTClient.Configuration) async throws {
        var configuration = configuration
        configuration.reconnect = .never
        let client = try MQTTClient(configuration, logger: Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() })
        self.client = client
        running = Task { try await client.run() }
        do {
            try await client.connected()
        } catch {
            client.close()
            throw error
        }
    }

    /// Gives the reason where it had ended before.
    func end() async -> MQTTError? {
        client.disconnect()
        guard case .failure(let error) = await running.result else { return nil }
        return error as? MQTTError ?? .connectionLost("\(error)")
    }
}

extension [BenchClient] {
    /// All at once: a broker may take its time for each. Gives why one had ended before.
    func end() async -> MQTTError? {
        await withTaskGroup(of: MQTTError?.self) { tasks in
            for client in self { tasks.addTask { await client.end() } }
            return await tasks.reduce(nil) { $0 ?? $1 }
        }
    }
}

/// Counts of all clients, for the progress.
final class BenchCounts: Sendable {
    let sent = Atomic(0)
    let received = Atomic(0)
    let sendingEnded = Atomic(false)
    let isInterrupted = Atomic(false)
    /// The first thing that went wrong.
    let failure = Mutex<MQTTError?>(nil)

    func failed(_ error: MQTTError) { failure.withLock { $0 = $0 ?? error } }
}

/// A measurement with publishers and subscribers.
struct BenchRun: Sendable {
    private let settings: BenchSettings
    private let tool: Tool
    private let counts = BenchCounts()
    private let flows: [BenchFlow]

    init(_ settings: BenchSettings, _ tool: Tool) {
        self.settings = settings
        self.tool = tool
        flows = (0..<settings.publishers).map { _ in
            BenchFlow(
                window: settings.command.window,
                copies: settings.command.rate == nil ? settings.copies : 0
            )
        }
    }

    private enum Outcome: Sendable {
        case sent(Int, BenchLatency, endedAt: UInt64)
        case received(BenchTracker)
        case over
    }

    func run() async throws -> BenchOutcome {
        let subscribers = try await connect(settings.subscribers, first: 0)
        let publishers = try await connect(settings.publishers, first: settings.subscribers)
        var subscriptions: [MQTTSubscription] = []
        for (number, subscriber) in subscribers.enumerated() {
            let filter = settings.filter(ofSubscriber: number)
            let qos = settings.command.qos
            subscriptions.append(
                try await tool.answered { try await subscriber.client.subscribe(to: filter, qos: qos) }
            )
            tool.debug("subscribed to \(filter)")
        }
        let began = BenchPayload.now
        let outcomes = await measure(publishers, subscriptions)
        let result = result(outcomes, from: began)
        let ended = await (publishers + subscribers).end()
        return (result, ended ?? counts.failure.withLock { $0 })
    }

    /// Interrupted, it publishes nothing more, and waits for what is under way.
    private func measure(
        _ publishers: [BenchClient],
        _ subscriptions: [MQTTSubscription]
    ) async -> [Outcome] {
        let publishing = Task { await publish(publishers) }
        let receiving = Task {
            // Where it is over before the publishers are at their end, nobody is left to receive.
            defer { publishing.cancel() }
            return await receive(subscriptions)
        }
        return await withTaskCancellationHandler {
            let sent = await publishing.value
            counts.sendingEnded.store(true, ordering: .relaxed)
            return sent + (await receiving.value)
        } onCancel: {
            counts.isInterrupted.store(true, ordering: .relaxed)
            publishing.cancel()
        }
    }

    private func publish(_ publishers: [BenchClient]) async -> [Outcome] {
        await withTaskGroup(of: Outcome.self) { tasks in
            for (number, publisher) in publishers.enumerated() {
                tasks.addTask { await publish(publisher.client, number) }
            }
            return await tasks.reduce(into: []) { $0.append($1) }
        }
    }

    private func receive(_ subscriptions: [MQTTSubscription]) async -> [Outcome] {
        await withTaskGroup(of: Outcome.self) { tasks in
            for subscription in subscriptions { tasks.addTask { await receive(subscription) } }
            tasks.addTask {
                await watch()
                return .over
            }
            var outcomes: [Outcome] = []
            for await outcome in tasks {
                outcomes.append(outcome)
                let areAllAtTheirEnd = !subscriptions.isEmpty && outcomes.count == subscriptions.count
                if case .over = outcome { tasks.cancelAll() } else if areAllAtTheirEnd { tasks.cancelAll() }
            }
            return outcomes
        }
    }

    /// So many at a time, and in their order.
    private func connect(_ count: Int, first: Int) async throws -> [BenchClient] {
        let atOnce = 50
        var clients: [BenchClient] = []
        while clients.count < count {
            let numbers = clients.count..<min(count, clients.count + atOnce)
            clients += try await withThrowingTaskGroup(of: BenchClient.self) { tasks in
                for number in numbers {
                    let configuration = try settings.command.connection.configuration(number: first + number)
                    tasks.addTask { try await BenchClient(configuration) }
                }
                return try await tasks.reduce(into: []) { $0.append($1) }
            }
        }
        return clients
    }

    // MARK: Publishing

    private func publish(_ client: MQTTClient, _ number: Int) async -> Outcome {
        let clock = AnswerClock()
        return await withTaskGroup(of: Outcome.self) { tasks in
            tasks.addTask { await publish(client, number, clock) }
            tasks.addTask {
                do {
                    try await clock.watch(client, seconds: settings.command.connection.answerSeconds)
                } catch let error as MQTTError {
                    counts.failed(error)
                } catch {
                    // The publisher was done before.
                }
                return .over
            }
            var outcome = Outcome.over
            for await next in tasks {
                tasks.cancelAll()
                if case .sent = next { outcome = next }
            }
            return outcome
        }
    }

    private func publish(_ client: MQTTClient, _ number: Int, _ clock: AnswerClock) async -> Outcome {
        let latency = Mutex(BenchLatency())
        let measuresAcknowledgements = settings.scenario == .pub && settings.command.qos > .atMostOnce
        let windowMax = settings.scenario == .pub ? settings.command.window : .max
        var window = PublishWindow(client, messagesMax: windowMax, clock: clock) { due in
            guard measuresAcknowledgements else { return }
            latency.withLock { $0.record(nanoseconds: max(BenchPayload.now, due) - due) }
        }
        let source = BenchPayload.Source(run: settings.run, publisher: UInt32(number))
        let topic = settings.topic(ofPublisher: number)
        let end = settings.duration.map { ContinuousClock.now + .seconds($0) }
        var pace = BenchPace(settings)
        var sent = 0
        do {
            while sent < settings.messages ?? .max, end.map({ .now < $0 }) ?? true, !Task.isCancelled {
                await flows[number].acquire()
                let due = try await pace.next()
                let payload = BenchPayload(source: source, sequence: UInt64(sent), time: due)
                try await window.publish(
                    payload.bytes(settings.command.size),
                    to: topic,
                    qos: settings.command.qos,
                    mark: due
                )
                sent += 1
                counts.sent.add(1, ordering: .relaxed)
            }
            try await window.finish()
        } catch let error as MQTTError where error != .cancelled {
            counts.failed(error)
        } catch {
            // It was interrupted. What was measured so far counts.
        }
        return .sent(sent, latency.withLock { $0 }, endedAt: BenchPayload.now)
    }

    // MARK: Receiving

    private func receive(_ subscription: MQTTSubscription) async -> Outcome {
        var tracker = BenchTracker()
        var received = 0
        let enough = settings.scenario == .sub ? settings.command.messages ?? .max : .max
        for await message in subscription {
            var payload = BenchPayload(message.payload)
            if settings.scenario != .sub && payload?.source.run != settings.run { payload = nil }
            tracker.record(payload, at: BenchPayload.now)
            received += 1
            counts.received.add(1, ordering: .relaxed)
            if let payload, payload.source.run == settings.run, payload.source.publisher < flows.count {
                flows[Int(payload.source.publisher)].received()
            }
            if received == enough { break }
        }
        return .received(tracker)
    }

    // MARK: Watching

    /// Prints the progress, and returns when there is nothing to wait for any more.
    private func watch() async {
        let progress = BenchProgress(quiet: tool.options.quiet)
        defer { progress.clear() }
        let began = ContinuousClock.now
        var last = (sent: 0, received: 0)
        var lastChange = began
        while !Task.isCancelled {
            // Cancelled, it is over.
            guard (try? await Task.sleep(for: .milliseconds(20))) != nil else { return }
            let now = ContinuousClock.now
            let current = (counts.sent.load(ordering: .relaxed), counts.received.load(ordering: .relaxed))
            if current != last {
                last = current
                lastChange = now
            }
            progress.show(began, sent: last.sent, received: last.received)
            let isIdle = now - lastChange > .seconds(settings.command.wait)
            if isOver(last, isIdle: isIdle, now - began) { return }
            if isIdle {
                for flow in flows { flow.forgive() }
                lastChange = now
            }
        }
    }

    private func isOver(_ last: (sent: Int, received: Int), isIdle: Bool, _ elapsed: Duration) -> Bool {
        if settings.scenario == .sub {
            if counts.isInterrupted.load(ordering: .relaxed) { return true }
            if let duration = settings.command.duration { return elapsed > .seconds(duration) }
            if last.received == 0 && elapsed > .seconds(settings.command.timeout) {
                counts.failed(.requestTimedOut)
                return true
            }
            if let messages = settings.command.messages, last.received >= messages * settings.subscribers {
                return true
            }
            return isIdle && last.received > 0
        }
        guard counts.sendingEnded.load(ordering: .relaxed) else { return false }
        return isIdle || last.received >= counts.sent.load(ordering: .relaxed) * settings.copies
    }

    // MARK: The result

    private func result(_ outcomes: [Outcome], from began: UInt64) -> BenchResult {
        let ended = outcomes.map { outcome in
            switch outcome {
            case .sent(_, _, let time): time
            case .received(let tracker): tracker.lastTime
            case .over: began
            }
        }
        let nanoseconds = max(began, ended.max() ?? began) - began
        var result = BenchResult(settings, seconds: Double(nanoseconds) / 1_000_000_000)
        var shared = BenchTracker()
        for outcome in outcomes {
            switch outcome {
            case .sent(let sent, let latency, _):
                result.sent += sent
                result.latency.add(latency)
            case .received(let tracker) where settings.scenario == .shared: shared.add(tracker)
            case .received(let tracker): result.add(tracker)
            case .over: continue
            }
        }
        if settings.scenario == .shared { result.add(shared) }
        result.expected = settings.scenario == .sub ? result.expected : result.sent * settings.copies
        result.settle()
        return result
    }
}

/// The next message's time, and waiting for it.
struct BenchPace {
    private let interval: Duration?
    private let began = ContinuousClock.now
    private let offset: UInt64
    private var number = 0
    private var woken = ContinuousClock.now

    init(_ settings: BenchSettings) {
        interval = settings.command.rate.map { .seconds(Double(max(1, settings.publishers)) / $0) }
        offset = BenchPayload.now
    }

    /// When the message is due, in the time of payloads. What the timer was late does not count; what publishing the
    /// messages before it was late does.
    mutating func next() async throws -> UInt64 {
        guard let interval else { return BenchPayload.now }
        let due = began + interval * number
        number += 1
        if due > .now {
            try await Task.sleep(until: due, tolerance: .zero, clock: .continuous)
            woken = .now
        }
        let nanoseconds = (max(due, woken) - began) / .nanoseconds(1)
        return offset + UInt64(max(0, nanoseconds))
    }
}
