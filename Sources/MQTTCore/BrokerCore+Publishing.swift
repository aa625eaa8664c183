import MQTTPackets
import MQTTRouting
import MQTTSessions
import MQTTStore
import NIOCore

extension BrokerCore {
    /// Topics that only the broker publishes to.
    static func isReserved(_ topic: String) -> Bool {
        topic == "$SYS" || topic.hasPrefix("$SYS/") || topic == "$CONTROL" || topic.hasPrefix("$CONTROL/")
    }

    mutating func publishReceived(_ bytes: Span<UInt8>, _ view: PublishView, _ c: Int) throws(DecodingError) {
        statistics.publishReceived &+= 1
        connections[c].publishReceived &+= 1
        statistics.publishBytesReceived &+= UInt64(view.payload.count)
        guard view.needsRewriting else {
            return try publishReceived(bytes, view, expiresAt: expiry(nil, waited: heldTime), c)
        }
        if view.hasSubscriptionIdentifiers {
            throw .protocolError("subscription identifier in a PUBLISH to the server")  // [MQTT-3.3.4-6]
        }
        let expiresAt = expiry(view.messageExpiryInterval, waited: heldTime)
        let topic = try resolveAlias(bytes, view, c)
        // What is left is laid out as if it had come without alias and expiry.
        var rewritten = topic
        view.forEachForwardedProperty(bytes) { rewritten += bytes.extracting($0).toArray() }
        let propertyBytes = rewritten.count - topic.count
        rewritten += bytes.extracting(view.payload).toArray()
        var flat = PublishView(
            firstByte: view.firstByte,
            topicBytes: topic.count,
            propertyBytes: propertyBytes,
            payloadBytes: view.payload.count
        )
        flat.packetID = view.packetID
        try publishReceived(rewritten.span, flat, expiresAt: expiresAt, c)
    }

    /// When a message expires that came with this interval, or without one, so long before.
    @inline(__always)
    func expiry(_ interval: UInt32?, waited: Int64 = 0) -> Int64 {
        let most = limits.messageExpiryMax
        guard let seconds = interval.map({ min(Int($0), most) }) ?? (most == Limits.never ? nil : most) else {
            return .max
        }
        // One that expires at once still reaches those who can be sent it at once.
        return now + max(1, Int64(seconds) * 1_000) - waited  // [MQTT-3.3.2-6]
    }

    /// The topic, from the packet or from its alias, which is resolved before anything else is decided.
    mutating func resolveAlias(
        _ bytes: Span<UInt8>,
        _ view: PublishView,
        _ c: Int
    ) throws(DecodingError) -> [UInt8] {
        let topic = bytes.extracting(view.topic)
        guard view.topicAlias != 0 else { return topic.toArray() }
        guard connections[c].aliasesIn.isWithinMaximum(view.topicAlias) else {
            throw DecodingError(.topicAliasInvalid, "topic alias \(view.topicAlias)")  // [MQTT-3.3.2-9]
        }
        if topic.isEmpty {
            guard let known = connections[c].aliasesIn.topic(view.topicAlias) else {
                throw .protocolError("topic alias \(view.topicAlias) has no topic yet")
            }
            return known
        }
        guard connections[c].aliasesIn.define(view.topicAlias, topic) else {
            throw DecodingError(.quotaExceeded, "the topics of all aliases are too long together")
        }
        return topic.toArray()
    }

    private mutating func publishReceived(
        _ bytes: Span<UInt8>,
        _ view: PublishView,
        expiresAt: Int64,
        _ c: Int
    ) throws(DecodingError) {
        let s = session(of: c)
        let receiveMaximum = connections[c].version == .v5 ? limits.receiveMaximum : nil
        let verdict =
            sessions[s].state.publishReceived(qos: view.qos, packetID: view.packetID, receiveMaximum: receiveMaximum)
        switch verdict {
        case .route:
            _ = authorizeAndRoute(bytes, view, expiresAt: expiresAt, s)
            if accepted != nil { _ = tellPublished(c, after: awaited(ticket, .puback)) }
        case .routeThenAcknowledge:
            let reason = authorizeAndRoute(bytes, view, expiresAt: expiresAt, s)
            acknowledge(c, view, reason, after: awaited(ticket, .puback))
        case .routeThenReceive:
            change(s) { .packetReceived(incarnation: $0, packetID: view.packetID) }
            let reason = authorizeAndRoute(bytes, view, expiresAt: expiresAt, s)
            if reason.isError && connections[c].version == .v5 {
                sessions[s].state.inbound.released(view.packetID)  // [MQTT-4.3.3-9]
                change(s) { .packetReleased(incarnation: $0, packetID: view.packetID) }
            }
            acknowledge(c, view, reason, after: awaited(ticket, .pubrec))
        case .receiveAgain:
            // While the first answer waits there is no second one.
            guard !connections[c].waitingPubrecs.contains(view.packetID) else { return }
            acceptAgain(bytes, view, expiresAt: expiresAt, s)
            acknowledge(c, view, .success, after: awaited(sessions[s].lastTicket, .repeatedPubrec))
        case .disconnect(let reason): throw DecodingError(reason, "more than \(limits.receiveMaximum) unacknowledged")
        }
    }

    private mutating func authorizeAndRoute(
        _ bytes: Span<UInt8>,
        _ view: PublishView,
        expiresAt: Int64,
        _ s: Int
    ) -> ReasonCode {
        if let reason = ruledOut(bytes, view) {
            statistics.publishRefused &+= 1
            return reason
        }
        if expiresAt <= now { return expire(bytes, view) }
        let message = configuration.tellsPublished ? makeAccepted(bytes, view, expiresAt: expiresAt, s) : nil
        let outcome = route(bytes, view, expiresAt: expiresAt, publisher: s, existing: message)
        if outcome.isTakenByNone { return .quotaExceeded }
        if message != nil { accepted = message }
        return outcome.isMatched ? .success : .noMatchingSubscribers
    }

    /// It waited for room for longer than it lasts, and nobody gets it any more [MQTT-3.3.2-5]. What its topic had before
    /// is not the last message either.
    private mutating func expire(_ bytes: Span<UInt8>, _ view: PublishView) -> ReasonCode {
        if view.isRetained { forgetRetained(bytes.extracting(view.topic)) }
        // Nobody knows how many copies it would have been.
        statistics.copiesRouted &+= 1
        drop(.expired, -1, bytes: view.payload.count)
        return .success
    }

    /// Why a PUBLISH is not routed, whoever would get it.
    @inline(__always)
    func ruledOut(_ bytes: Span<UInt8>, _ view: PublishView) -> ReasonCode? {
        if isGated, let refusal { return refusal }
        let topic = bytes.extracting(view.topic)
        if topic[0] == Topics.dollar, Self.isReserved(bytes.string(in: view.topic)) { return .notAuthorized }
        return isWithinLimits(topic) ? nil : .topicNameInvalid
    }

    @inline(__always)
    func isWithinLimits(_ topic: Span<UInt8>) -> Bool {
        guard topic.count <= limits.topicBytesMax else { return false }
        // A topic with so few bytes cannot have more levels.
        guard topic.count >= limits.topicLevelsMax else { return true }
        var levels = 1
        for at in topic.indices where topic[at] == Topics.separator { levels += 1 }
        return levels <= limits.topicLevelsMax
    }

    /// PUBACK or PUBREC. It waits for everybody's changes so far: who did not get the message may owe that to an end, an
    /// UNSUBSCRIBE or a cleared topic that is not committed yet. Before 5.0 a refused publish is acknowledged like any other [MQTT-3.3.5-2].
    private mutating func acknowledge(
        _ c: Int,
        _ view: PublishView,
        _ reason: ReasonCode,
        after ticket: UInt64
    ) {
        let endsAtLeastOnce = view.qos.rawValue == QoS.atLeastOnce.rawValue
        let published = accepted == nil ? 0 : tellPublished(c, after: ticket)
        if published > 0 || ticket > committed || !connections[c].waiting.isEmpty {
            var waiting = WaitingAnswer(
                ticket: ticket,
                answer: .acknowledgement(endsAtLeastOnce ? .puback : .pubrec, view.packetID, reason),
                endsAtLeastOnce: endsAtLeastOnce,
                published: published
            )
            waiting.bytes += view.topic.count + view.payload.count
            if !endsAtLeastOnce { connections[c].waitingPubrecs.insert(view.packetID) }
            return wait(c, waiting)
        }
        if endsAtLeastOnce { sessions[session(of: c)].state.inbound.acknowledged() }
        writeAnswer(endsAtLeastOnce ? 0x40 : 0x50, view.packetID, reason, to: c)
    }

    /// Gives a message to everybody whose subscriptions match.
    @discardableResult
    mutating func route(
        _ bytes: Span<UInt8>,
        _ view: PublishView,
        expiresAt: Int64,
        publisher s: Int,
        existing: Message? = nil
    ) -> RouteOutcome {
        let topic = bytes.extracting(view.topic)
        let hash = existing?.topicHash ?? TopicHash.hash(topic, seed: configuration.seed)
        var publication = Publication(
            message: existing,
            publisher: s,
            expiresAt: expiresAt,
            topicHash: hash
        )
        if isObserved && (s != Publication.broker || !view.isRetained) {
            emitPublished(makeMessage(&publication, bytes, view), publisher: s)
        }
        var outcome = RouteOutcome()
        if view.isRetained {
            let isRetained = retain(bytes, view, &publication)
            outcome.isRetained = isRetained && !view.payload.isEmpty
            outcome.isNotRetained = !isRetained
        }
        let route = cache.route(of: topic, hash: hash, in: tree)
        if let existing {
            publication.sharedPayload = existing.largePayload
        } else if route.receivers.count > 1 && view.payload.count >= SendBuffer.referencedBytesMin
            && publication.sharedPayload == nil
        {
            publication.sharedPayload = bytes.buffer(in: view.payload)
        }
        for at in route.receivers.indices {
            let receiver = route.receivers[at]
            switch receiver.scope {
            case .always: break
            case .unlessPublisher: if isPublisher(s, receiver) { continue }
            case .ifPublisher: if !isPublisher(s, receiver) { continue }
            }
            outcome.copies += 1
            let identifiers = route.identifiers(of: receiver)
            if !deliver(bytes, view, &publication, to: receiver, identifiers) { outcome.refused += 1 }
        }
        for at in route.groups.indices {
            outcome.copies += 1
            if !deliver(bytes, view, &publication, toOneOf: route.groups[at]) { outcome.refused += 1 }
        }
        statistics.copiesRouted &+= UInt64(outcome.copies)
        outcome.isMatched = !route.isEmpty
        return outcome
    }

    /// Host code is one publisher, and the one receiver of all that it subscribes to.
    @inline(__always)
    private func isPublisher(_ s: Int, _ receiver: Receiver) -> Bool {
        let r = Int(receiver.session)
        guard s == Publication.host else { return r == s }
        return sessions[r].connection >= 0 && connections[Int(sessions[r].connection)].isHost
    }

    /// False where there is no room for it. What the broker says of itself is neither limited nor stored.
    private mutating func retain(
        _ bytes: Span<UInt8>,
        _ view: PublishView,
        _ publication: inout Publication
    ) -> Bool {
        let topic = bytes.extracting(view.topic)
        let isOwn = publication.publisher == Publication.broker
        if view.payload.isEmpty {
            forgetRetained(topic)  // [MQTT-3.3.1-6]
            return true
        }
        let message = makeMessage(&publication, bytes, view)
        guard isOwn || hasRoomToRetain(message, topic) else {
            drop(.notRetained, -1, bytes: view.payload.count, of: message)
            // What was there before is not the topic's last message any more.
            forgetRetained(topic)
            return false
        }
        retained.set(message)  // [MQTT-3.3.1-5]
        let version = retained.version
        if !isOwn { change(.retained(StoredRetained(message, version: version))) }
        return true
    }

    private mutating func forgetRetained(_ topic: Span<UInt8>) {
        guard retained.remove(topic) != nil else { return }
        change(.retainedCleared(topic: topic.string(in: topic.indices)))
    }

    @inline(__always)
    private func hasRoomToRetain(_ message: Message, _ topic: Span<UInt8>) -> Bool {
        // What the broker says of itself takes no room from others.
        let isOver =
            retained.count - system.lastPayloads.count >= limits.retainedMessagesMax
            || retained.bytesHeld + message.bytesHeld > limits.retainedBytesMax
        guard isOver else { return true }
        // One that takes the place of another is no new one, and adds what it has more of bytes.
        guard let old = retained.get(topic)?.message.bytesHeld else { return false }
        return message.bytesHeld <= old || retained.bytesHeld - old + message.bytesHeld <= limits.retainedBytesMax
    }

    private mutating func deliver(
        _ bytes: Span<UInt8>,
        _ view: PublishView,
        _ publication: inout Publication,
        toOneOf group: Int32
    ) -> Bool {
        let message = asksToSelect ? makeMessage(&publication, bytes, view) : nil
        guard let member = selectMember(group, for: message, qos: view.qos) else {
            drop(.noMember, -1, bytes: view.payload.count, of: observedMessage(&publication, bytes, view))
            return true
        }
        let subscription = tree.subscriptions[Int(member)]
        let (receiver, id) = (Receiver(subscription), tree.groups[Int(group)].id)
        return deliver(bytes, view, &publication, to: receiver, subscription.identifiers, group: id)
    }

    /// Publishes the will of a session, and forgets it [MQTT-3.1.2-10].
    mutating func publishWill(of s: Int) {
        guard let will = takeWill(s) else { return }
        sessions[s].willDue = nil
        var properties = will.properties
        properties.removeAll(.willDelayInterval)
        let expiresAt = expiry(properties[integer: .messageExpiryInterval])
        properties.removeAll(.messageExpiryInterval)
        let message = Message(
            Publish(
                topic: will.topic,
                payload: will.payload,
                qos: will.qos,
                isRetained: will.isRetained,
                properties: properties
            ),
            publisher: sessions[s].state.clientID,
            expiresAt: expiresAt,
            seed: configuration.seed
        )
        publish(message, publisher: s)
        if isObserved { observed.append(.willSent(message, of: sessions[s].state.clientID)) }
    }

    /// The message in storage of its own, made once for all receivers that need it.
    mutating func makeMessage(
        _ publication: inout Publication,
        _ bytes: Span<UInt8>,
        _ view: PublishView
    ) -> Message {
        if let message = publication.message { return message }
        let publisher = publication.publisher < 0 ? nil : sessions[publication.publisher].state.clientID
        let made = Message(
            copying: bytes,
            view,
            payload: publication.sharedPayload,
            publisher: publisher,
            expiresAt: publication.expiresAt,
            topicHash: publication.topicHash
        )
        publication.message = made
        if publication.sharedPayload == nil { publication.sharedPayload = made.largePayload }
        return made
    }

    mutating func publish(_ message: Message, publisher s: Int) {
        let bytes = message.bytes
        route(bytes.span, message.view, expiresAt: message.expiresAt, publisher: s, existing: message)
    }
}

/// What became of a message.
struct RouteOutcome {
    /// Whether there was a subscription to its topic.
    var isMatched = false
    /// Receivers, and those among them whose queue was full.
    var copies = 0
    var refused = 0
    /// Whether it was retained, or was to be and there was no room.
    var isRetained = false
    var isNotRetained = false

    /// Whether nobody could take it who was there to take it.
    var isTakenByNone: Bool { !isRetained && refused == copies && (copies > 0 || isNotRetained) }
}

/// One message on its way through the core. It is copied into storage of its own when the first receiver needs that.
struct Publication {
    var message: Message?
    /// A large payload that goes to several connections now, once for all of them.
    var sharedPayload: ByteBuffer?
    /// The session; or who has none.
    let publisher: Int
    let expiresAt: Int64
    let topicHash: UInt64

    /// What the broker says of itself is neither limited nor stored.
    static var broker: Int { -1 }
    static var host: Int { -2 }

    init(message: Message?, publisher: Int, expiresAt: Int64, topicHash: UInt64) {
        self.message = message
        self.publisher = publisher
        self.expiresAt = expiresAt
        self.topicHash = topicHash
    }

    /// A message that was kept: retained, or queued for another.
    init(_ message: Message) {
        self.init(message: message, publisher: Self.broker, expiresAt: message.expiresAt, topicHash: message.topicHash)
        sharedPayload = message.largePayload
    }
}
