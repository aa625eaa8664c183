import MQTTPackets
import MQTTSessions
import MQTTStore
import NIOCore

/// What the core cannot decide alone. CONNECT, SUBSCRIBE and AUTH are asked for: the packet stays in front of its
/// connection's input, which is not read on, and is handled once the answer is there, as if it had come then.
///
///     receive ─▶ SUBSCRIBE ─▶ Received.ask ─▶ question(of:) ─▶ (hooks, without the lock) ─▶ answer(_:to:)
///                    ▲                                                                        │
///                    └─────────────── reading goes on, the packet comes again ◀───────────────┘
///
/// What was decided of a PUBLISH or UNSUBSCRIBE before the lock comes along with the burst, as verdicts on the packets
/// at certain positions of it.
extension BrokerCore {
    /// Handles a burst of which so many bytes were looked at before, and these packets decided upon.
    package mutating func receive(
        _ burst: ByteBuffer,
        looked: Int,
        _ verdicts: [PlacedVerdict],
        from id: ConnectionID,
        at now: Int64
    ) -> Received {
        self.verdicts = verdicts
        nextVerdict = 0
        lookedAt = looked
        defer {
            self.verdicts = []
            lookedAt = 0
        }
        return receive(burst, from: id, at: now)
    }

    /// What a connection waits to be told; nil where it waits no longer.
    package mutating func question(of id: ConnectionID) -> Question? {
        guard let c = index(id), connections[c].isAsking else { return nil }
        return asked[id.slot]?.question
    }

    /// The answer to a connection's question: its packet goes on. Ignored where the connection has ended meanwhile.
    package mutating func answer(_ answer: Answer, to id: ConnectionID, at now: Int64) {
        self.now = now
        guard let c = index(id), connections[c].isAsking else { return }
        asked[id.slot]?.answer = answer
        connections[c].isAsking = false
        connections[c].lastReceived = now
        touch(c)
    }

    mutating func ask(_ question: Question, _ c: Int) {
        asked[Int32(c)] = Asked(question: question)
        connections[c].isAsking = true
    }

    /// The connection has ended, and its question with it.
    mutating func dropQuestion(_ c: Int) {
        asked[Int32(c)] = nil
        connections[c].isAsking = false
        connections[c].isAuthenticating = false
    }

    private mutating func takeAnswer(_ c: Int) -> Answer? {
        guard asked[Int32(c)]?.answer != nil else { return nil }
        return asked.removeValue(forKey: Int32(c))?.answer
    }

    // MARK: Packets of a connected client

    /// Sets `verdict` to what was decided of the packet at `at`. False where its client has to wait for that.
    mutating func decide(
        _ bytes: Span<UInt8>,
        at: Int,
        _ header: FixedHeader,
        _ kind: PacketKind,
        _ c: Int
    ) throws(DecodingError) -> Bool {
        verdict = nil
        switch kind {
        case .publish, .unsubscribe:
            // Nobody sees to this but us: no message passes that was not looked at.
            guard at < lookedAt else { throw DecodingError(.implementationSpecificError, "a packet not looked at") }
            verdict = takeVerdict(at: at)
            return true
        case .subscribe where configuration.asks.contains(.subscribe),
            .auth where connections[c].hasAuthenticated:
            break
        default: return true
        }
        if let answer = takeAnswer(c) {
            verdict = .answered(answer)
            return true
        }
        let version = connections[c].version
        let packet = try PacketDecoder.decode(
            bytes,
            at: at,
            header: header,
            version: version,
            filtersMax: limits.filtersMax
        )
        switch packet {
        case .subscribe(let subscribe):
            try checkNoLocal(subscribe)
            ask(.subscribe(subscribe), c)
        case .auth(let auth): ask(.authenticate(auth), c)
        default: return true
        }
        return false
    }

    private mutating func takeVerdict(at: Int) -> PacketVerdict? {
        while nextVerdict < verdicts.count {
            let next = verdicts[nextVerdict]
            if next.position > at { return nil }
            nextVerdict += 1
            if next.position == at { return next.verdict }
        }
        return nil
    }

    /// A packet that was decided upon.
    mutating func handle(
        _ bytes: Span<UInt8>,
        at: Int,
        _ header: FixedHeader,
        _ kind: PacketKind,
        _ decided: PacketVerdict,
        _ c: Int
    ) throws(DecodingError) {
        verdict = nil
        switch decided {
        case .refused(let reason):
            refusal = reason
            defer { refusal = nil }
            try handle(bytes, at: at, header, kind, c)
        case .replaced(let packet):
            // An alias that the client has defined is one, whatever became of its message.
            if kind == .publish {
                let view = try PublishView(bytes, at: at, header: header, version: connections[c].version)
                if view.topicAlias != 0 { _ = try resolveAlias(bytes, view, c) }
            }
            let span = packet.readableBytesUInt8Span
            guard let header = try FixedHeader.read(span, at: 0, packetBytesMax: .max) else { return }
            guard kind == .publish else { return try handle(span, at: 0, header, kind, c) }
            try publishReceived(span, try PublishView(span, at: 0, header: header, version: .v5), c)
        case .answered(.subscribe(let subscribe, let refused)): try subscribeReceived(subscribe, refused, c)
        case .answered(let answer): authenticationAnswered(answer, c)
        }
    }

    // MARK: Connecting

    /// Handles CONNECT, or what follows it before CONNACK, and gives its length; nil while it is not whole, or waits.
    mutating func receiveFirstAsked(_ bytes: Span<UInt8>, at: Int, c: Int) throws(DecodingError) -> Int? {
        guard !connections[c].isAuthenticating else { return try receiveAuthentication(bytes, at: at, c) }
        guard let header = try connectHeader(bytes, at: at) else { return nil }
        if let answer = takeAnswer(c) { return handleFirst(answer, c) ? header.packetBytes : nil }
        statistics.packetsReceived &+= 1
        statistics.connects &+= 1
        let packet = try PacketDecoder.decode(bytes, at: at, header: header, version: .v5)
        guard case .connect(var connect) = packet else { return header.packetBytes }
        var properties = Properties()
        connections[c].version = connect.version
        connections[c].packetBytesMax = Int(connect.properties[integer: .maximumPacketSize] ?? .max)
        if let reason = identify(&connect, &properties) {
            refuse(c, reason, version: connect.version)
            return header.packetBytes
        }
        introduce(connect, c)
        ask(.connect(ConnectAnswer(connect: connect, properties: properties)), c)
        return nil
    }

    /// While the exchange goes on that CONNECT began, the client sends AUTH or DISCONNECT and nothing else
    /// [MQTT-3.1.2-30].
    private mutating func receiveAuthentication(_ bytes: Span<UInt8>, at: Int, _ c: Int) throws(DecodingError) -> Int? {
        guard let header = try FixedHeader.read(bytes, at: at, packetBytesMax: limits.controlBytesMax) else {
            return nil
        }
        let kind = try PacketDecoder.checkFlags(header, version: .v5)
        guard kind == .auth || kind == .disconnect else { throw .protocolError("\(kind) before CONNACK") }
        guard bytes.count - at >= header.packetBytes else { return nil }
        if let answer = takeAnswer(c) { return handleFirst(answer, c) ? header.packetBytes : nil }
        statistics.packetsReceived &+= 1
        switch try PacketDecoder.decode(bytes, at: at, header: header, version: .v5) {
        case .auth(let auth):
            ask(.authenticate(auth), c)
            return nil
        default:
            end(c, .client(.success))
            return header.packetBytes
        }
    }

    /// What was decided of a connection that has no session yet. False where its packet has to wait again.
    private mutating func handleFirst(_ answer: Answer, _ c: Int) -> Bool {
        switch answer {
        case .connect(let accepted):
            if let reason = accepted.refusal {
                refuse(c, reason, version: connections[c].version)
                return true
            }
            let unasked = subscriptionsUnasked(accepted)
            guard unasked.isEmpty else {
                ask(.resume(accepted, unasked), c)
                return false
            }
            guard !hold(accepted.connect, c) else {
                asked[Int32(c)] = Asked(question: .connect(accepted), answer: answer)
                return false
            }
            connections[c].isAuthenticating = false
            connections[c].hasAuthenticated = accepted.connect.properties[string: .authenticationMethod] != nil
            connectReceived(accepted.connect, c, accepted)
        case .challenge, .authenticated, .refused: authenticationAnswered(answer, c)
        case .subscribe: break
        }
        return true
    }

    private mutating func authenticationAnswered(_ answer: Answer, _ c: Int) {
        let isConnected = connections[c].state == .connected
        switch answer {
        case .challenge(let properties):
            connections[c].isAuthenticating = !isConnected
            self.answer(c, .auth(Auth(reasonCode: .continueAuthentication, properties: properties)))  // [MQTT-4.12.0-2]
        case .authenticated(let properties):
            self.answer(c, .auth(Auth(reasonCode: .success, properties: properties)))
        case .refused(let reason) where isConnected:
            disconnect(c, reason, explanation: "re-authentication: \(reason)")  // [MQTT-4.12.1-2]
        case .refused(let reason): refuse(c, reason, version: .v5)  // [MQTT-4.12.0-4]
        case .connect, .subscribe: break
        }
    }

    // MARK: Sessions that are resumed

    /// Subscriptions of the session that a CONNECT resumes about which nobody was asked.
    private func subscriptionsUnasked(_ accepted: ConnectAnswer) -> [ResumedSubscription] {
        let connect = accepted.connect
        guard configuration.asks.contains(.subscribe), !connect.cleanStart,
            let s = sessionOfClient[Array(connect.clientID.utf8)].map(Int.init), !isOver(s)
        else { return [] }
        var unasked: [ResumedSubscription] = []
        for (filter, number) in sessions[s].subscriptions {
            let options = tree.subscriptions[Int(number)].options
            if accepted.subscriptions[filter]?.options == options { continue }
            unasked.append(ResumedSubscription(filter: filter, options: options))
        }
        return unasked
    }

    /// Takes from a session that is resumed what its client may not have any more.
    mutating func restrict(_ subscriptions: [[UInt8]: SubscriptionVerdict], _ s: Int) {
        var groups: Set<UInt32> = []
        // In the order of filters: that of a dictionary differs from process to process.
        let restricted = subscriptions.filter { $0.value.qosMax != $0.value.options.qos }
        for (filter, verdict) in restricted.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            guard let number = sessions[s].subscriptions[filter] else { continue }
            let text = String(decoding: filter, as: UTF8.self)
            guard let qosMax = verdict.qosMax else {
                _ = unsubscribe(text, s, &groups)
                continue
            }
            var options = tree.subscriptions[Int(number)].options
            options.qos = min(options.qos, qosMax)
            let identifier = tree.subscriptions[Int(number)].identifier
            tree.update(number, options: options, identifier: identifier)
            let stored = StoredSubscription(filter: text, options: options, identifier: identifier)
            change(s) { .subscribed(stored, incarnation: $0) }
        }
        if !groups.isEmpty { redistribute(from: s, onlyUnsent: true) { groups.contains($0) } }
    }
}
