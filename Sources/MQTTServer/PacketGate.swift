import MQTTCore
import MQTTPackets
import MQTTSessions
import NIOCore

/// Has hooks decide of what one connection sends, before the core handles it. There is one only where such hooks are set.
///
///     bytes ─▶ look: authorizePublish for each PUBLISH ─▶ core.receive(burst, verdicts)
///                                                             │ .ask: CONNECT, SUBSCRIBE, AUTH
///     reading goes on ◀─ core.answer ◀─ task: the other hooks ◀┘
///
/// It reads the bytes along as far as the core may handle them: up to the next packet that has to be asked about.
final class PacketGate {
    private let runner: HookRunner
    private let driver: LoopDriver
    private let id: ConnectionID
    /// As far as it is known.
    private var client: ClientInfo
    /// Whether CONNECT was decided upon, and it may come.
    private var isAccepted = false
    private var exchange: HookRunner.Exchange?
    /// The authentication method of CONNECT; empty where it had none.
    private var method = ""
    private var aliases: InboundAliases
    /// Of the bytes that are not handled yet: how many were looked at, and what was decided of them.
    private(set) var looked = 0
    private var verdicts: [PlacedVerdict] = []
    /// Whether the packet that was asked about may be passed.
    private var isAnswered = false
    /// Filters of subscriptions as the client knows them → as they are.
    private var rewritten: [String: String] = [:]
    private var rewrittenBytes = 0
    private var task: Task<Void, Never>?

    /// Nil where no hook decides of what connections send.
    init?(_ driver: LoopDriver, id: ConnectionID, address: String) {
        guard !driver.hooks.hooks.asks.isEmpty else { return nil }
        runner = driver.hooks
        self.driver = driver
        self.id = id
        client = ClientInfo(id: "", address: address, version: .v5)
        aliases = InboundAliases(maximum: 0)
    }

    /// The connection is gone, and nobody waits for an answer.
    func close() {
        task?.cancel()
        task = nil
    }

    // MARK: Looking

    /// What was decided of the packets in `bytes`, which begin where the core has not handled them yet.
    func look(at bytes: ByteBuffer) -> [PlacedVerdict] {
        guard isAccepted else { return [] }
        let client = client
        let span = bytes.readableBytesUInt8Span
        while looked < span.count {
            // What cannot be read is for the core to refuse, and nothing behind it is handled.
            let header = try? FixedHeader.read(span, at: looked, packetBytesMax: runner.limits.packetBytesMax)
            guard let header = header.flatMap({ $0 }), span.count - looked >= header.packetBytes else { break }
            if mustAsk(header.kind) {
                guard isAnswered else { break }
                isAnswered = false
            } else if let verdict = verdict(span, header, client, bytes) {
                verdicts.append(PlacedVerdict(position: looked, verdict: verdict))
            }
            looked += header.packetBytes
        }
        return verdicts
    }

    private func mustAsk(_ kind: PacketKind?) -> Bool {
        switch kind {
        case .connect, .auth: true
        case .subscribe: runner.hooks.authorizeSubscribe != nil
        default: false
        }
    }

    private func verdict(
        _ span: Span<UInt8>,
        _ header: FixedHeader,
        _ client: ClientInfo,
        _ bytes: ByteBuffer
    ) -> PacketVerdict? {
        switch header.kind {
        case .publish where runner.hooks.authorizePublish != nil:
            do throws(DecodingError) {
                let view = try PublishView(span, at: looked, header: header, version: client.version)
                let topic = try topic(span, view)
                return runner.decide(PublishRequest(view, topic: topic, in: bytes), view, by: client)
            } catch {
                // The core finds the same fault; whatever it does, nobody has allowed this message.
                return .refused(error.reasonCode)
            }
        case .unsubscribe where !rewritten.isEmpty: return rewrite(span, header, client.version)
        default: return nil
        }
    }

    private func topic(_ span: Span<UInt8>, _ view: PublishView) throws(DecodingError) -> String {
        if view.hasSubscriptionIdentifiers { throw .protocolError("subscription identifier") }
        guard view.topicAlias != 0 else { return span.string(in: view.topic) }
        if !view.topic.isEmpty {
            guard aliases.define(view.topicAlias, span.extracting(view.topic)) else {
                throw DecodingError(.topicAliasInvalid, "topic alias")
            }
            return span.string(in: view.topic)
        }
        guard let known = aliases.topic(view.topicAlias) else { throw .protocolError("topic alias") }
        return String(decoding: known, as: UTF8.self)
    }

    /// An UNSUBSCRIBE of filters that the client knows by another name.
    private func rewrite(_ span: Span<UInt8>, _ header: FixedHeader, _ version: ProtocolVersion) -> PacketVerdict? {
        let packet = try? PacketDecoder.decode(
            span,
            at: looked,
            header: header,
            version: version,
            filtersMax: runner.limits.filtersMax
        )
        guard case .unsubscribe(var unsubscribe)? = packet else { return nil }
        guard unsubscribe.filters.contains(where: { rewritten[$0] != nil }) else { return nil }
        unsubscribe.filters = unsubscribe.filters.map { forget($0) ?? $0 }
        return .replaced(PacketEncoder(version: version).encode(.unsubscribe(unsubscribe)))
    }

    /// So many of the bytes have been handled.
    func handled(_ count: Int) {
        looked = max(0, looked - count)
        guard !verdicts.isEmpty else { return }
        for at in verdicts.indices { verdicts[at].position -= count }
        verdicts.removeAll { $0.position < 0 }
    }

    // MARK: Asking

    /// Answers what the core asks, in a while.
    func ask(_ question: Question) {
        let (runner, client) = (runner, client)
        switch question {
        case .connect(let asked):
            method = asked.connect.properties[string: .authenticationMethod] ?? ""
            decide { await runner.decide(asked, by: client) }
        case .resume(let asked, let subscriptions):
            decide { await runner.decide(asked, subscriptions, by: client) }
        case .authenticate(let auth):
            decide { [method, exchange] in await runner.decide(auth, method: method, exchange, by: client) }
        case .subscribe(let subscribe):
            run {
                await runner.decide(subscribe, by: client)
            } then: { gate, decided in
                gate.answer(.subscribe(decided.subscribe, refused: gate.remember(subscribe, decided)))
            }
        }
    }

    private func decide(_ body: @escaping @Sendable () async -> HookRunner.Decided) {
        run(body) { gate, decided in
            gate.exchange = decided.exchange
            gate.client = decided.client
            if case .connect(let answer) = decided.answer, answer.refusal == nil { gate.accepted() }
            gate.answer(decided.answer)
        }
    }

    private func accepted() {
        guard !isAccepted else { return }
        isAccepted = true
        guard client.version == .v5 else { return }
        let limits = runner.limits
        aliases = InboundAliases(maximum: UInt16(limits.topicAliasMaximum), bytesMax: limits.topicAliasBytesMax)
    }

    private func answer(_ answer: Answer) {
        task = nil
        // What was asked about begins what is not handled yet.
        isAnswered = looked == 0
        driver.turn { [id] core, now in core.answer(answer, to: id, at: now) }
    }

    /// Keeps the names that the client knows its filters by. Gives the refusals, with those for which there is no room.
    private func remember(_ wanted: Subscribe, _ decided: HookRunner.Subscribing) -> [ReasonCode?] {
        var refused = decided.refused
        for (number, (wanted, granted)) in zip(wanted.filters, decided.subscribe.filters).enumerated() {
            guard refused[number] == nil else { continue }
            forget(wanted.filter)
            guard granted.filter != wanted.filter else { continue }
            let bytes = wanted.filter.utf8.count + granted.filter.utf8.count
            let limits = runner.limits
            if rewritten.count < limits.subscriptionsMax && rewrittenBytes + bytes <= limits.subscriptionBytesMax {
                rewritten[wanted.filter] = granted.filter
                rewrittenBytes += bytes
            } else {
                refused[number] = .quotaExceeded
            }
        }
        return refused
    }

    @discardableResult
    private func forget(_ filter: String) -> String? {
        guard let name = rewritten.removeValue(forKey: filter) else { return nil }
        rewrittenBytes -= filter.utf8.count + name.utf8.count
        return name
    }

    private func run<Value: Sendable>(
        _ body: @escaping @Sendable () async -> Value,
        then: @escaping @Sendable (PacketGate, Value) -> Void
    ) {
        let gate = NIOLoopBound(self, eventLoop: driver.eventLoop)
        let eventLoop = driver.eventLoop
        task = Task {
            let value = await body()
            guard !Task.isCancelled else { return }
            eventLoop.execute { then(gate.value, value) }
        }
    }
}
