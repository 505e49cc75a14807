{# The query of a plan's violations. `messages` is a query of the messages, as `planned_messages` gives it. #}
{% macro plan_violations(plan, messages) %}
    {% set conditions = revetl.plan_conditions(plan) -%}
    {% set kinds = [] -%}
    {% if plan.documents -%}
        {% do kinds.append('broken_rules') -%}
    {% endif -%}
    {% if plan.documents | map(attribute='closed') | select | list -%}
        {% do kinds.append('unplanned_properties') -%}
    {% endif -%}
    {% if not revetl.is_allowed(plan.unplanned_events) -%}
        {% do kinds.append('unplanned_events') -%}
    {% endif -%}
    {% if not kinds -%}
        {{ return(revetl.no_violations()) }}
    {% endif -%}
with messages as{{ revetl.read_anew() }} (

{{ messages }}

),

    {% if plan.documents %}
{{ revetl.plan_documents(plan) }}

-- What the rules look at.
looked_at as (

    {{ revetl.documents_with_values(plan.documents) }}

),

-- Few are wrong, and only those are looked at rule by rule.
wrong as (

    select * from looked_at
    where {{ revetl.is_wrong(plan, conditions) }}

),

{{ revetl.plan_broken_rules(plan, conditions) }}
        {% if 'unplanned_properties' in kinds %}
{{ revetl.plan_unplanned_properties(plan) }}
        {% endif %}
    {% endif %}
    {% if 'unplanned_events' in kinds %}
unplanned_events as (

    select
        message_type,
        message_id,
        event,
        timestamp,
        received_at,
        uuid_ts,
        cast(null as {{ revetl.type_of('varchar') }}) as property_path,
        'unplanned_event' as rule_name,
        'a planned event' as expected,
        coalesce(event, 'nothing') as found,
        '{{ revetl.policy_word(plan, plan.unplanned_events) }}' as action
    from messages
    where
        message_type = 'track'
        {%- if plan.events %}
        and (event is null or event not in ({{ revetl.text_literals(plan.events) }}))
        {%- endif %}

),
    {% endif %}

violations as (

    {% for kind in kinds -%}
    select * from {{ kind }}
    {%- if not loop.last %}
    union all
    {% endif -%}
    {% endfor %}

),

-- A message that was delivered again counts as it was first received, as in staging.
messages_with_violations as (

    select distinct
        message_type,
        message_id
    from violations

),

deliveries as (

    select
        messages.message_type,
        messages.message_id,
        messages.timestamp,
        messages.received_at,
        messages.uuid_ts,
        messages.source_id,
        rank() over (
            partition by messages.message_type, messages.message_id
            order by
                {{ revetl.nulls_last('messages.received_at') }},
                {{ revetl.nulls_last('messages.uuid_ts') }},
                {{ revetl.nulls_last('messages.timestamp') }}
        ) as delivery
    from messages
    inner join messages_with_violations
        on
            messages.message_type = messages_with_violations.message_type
            and messages.message_id = messages_with_violations.message_id

),

first_deliveries as (

    select
        message_type,
        message_id,
        timestamp,
        received_at,
        uuid_ts,
        max(source_id) as source_id,
        count(*) as alike
    from deliveries
    where delivery = 1
    group by
        message_type,
        message_id,
        timestamp,
        received_at,
        uuid_ts

),

first_received as (

    select
        violations.*,
        first_deliveries.source_id,
        first_deliveries.alike
    from violations
    inner join first_deliveries
        on
            violations.message_type = first_deliveries.message_type
            and violations.message_id = first_deliveries.message_id
            and {{ revetl.same_moment('violations.received_at', 'first_deliveries.received_at') }}
            and {{ revetl.same_moment('violations.uuid_ts', 'first_deliveries.uuid_ts') }}
            and {{ revetl.same_moment('violations.timestamp', 'first_deliveries.timestamp') }}

),

-- Hardly a message is received twice at one time.
mentioned as (

    select
        first_received.*,
        1 as mention
    from first_received
    where alike = 1
    union all
    select
        first_received.*,
        row_number() over (
            partition by message_type, message_id, property_path, rule_name
            order by found
        ) as mention
    from first_received
    where alike > 1

),

described as (

    select
        message_id,
        message_type,
        event,
        property_path,
        rule_name,
        expected,
        found,
        {{ revetl.action_of_word(plan, 'action', 'source_id') }} as action,
        timestamp,
        coalesce(received_at, uuid_ts) as received_at,
        source_id
    from mentioned
    where mention = 1

),

enforced as (

    select * from described
    {% if revetl.plan_may_allow(plan) -%}
    where action <> 'allow'
    {%- endif %}

)

select * from enforced
{%- endmacro %}

{# The query of a plan that says nothing. #}
{% macro no_violations() -%}
with described as (

    select
        {%- for column in ['message_id', 'message_type', 'event', 'property_path', 'rule_name', 'expected', 'found', 'action'] %}
        cast(null as {{ revetl.type_of('varchar') }}) as {{ column }},
        {%- endfor %}
        cast(null as {{ revetl.type_of('timestamp') }}) as timestamp,
        cast(null as {{ revetl.type_of('timestamp') }}) as received_at,
        cast(null as {{ revetl.type_of('varchar') }}) as source_id
    from (select 1 as one) as nothing
    where {{ revetl.never() }}

)

select * from described
{%- endmacro %}

{# Whether two moments are one, or both are missing. #}
{% macro same_moment(left, right) -%}
    ({{ left }} = {{ right }} or ({{ left }} is null and {{ right }} is null))
{%- endmacro %}

{# A row a broken rule. #}
{% macro plan_broken_rules(plan, conditions) -%}
    {% set rows = [] -%}
    {% for document in plan.documents -%}
        {% for rule in document.rules -%}
            {% do rows.append([
                document.number, rule.number, conditions[revetl.breaks_rule(document, rule)].number, rule.at,
                revetl.text_literal(rule.rule), revetl.text_literal(rule.path), revetl.text_literal(rule.expected),
                revetl.text_literal(revetl.policy_word(plan, rule.action))]) -%}
        {% endfor -%}
    {% endfor -%}
rules as (

    {{ revetl.listed_rows(
        ['document_number', 'rule_number', 'condition_number', 'value_number', 'rule_name', 'path', 'expected', 'action'],
        rows or [[0, 0, 0, 0, "''", "''", "''", "''"]]) }}

),

numbered as (

    select
        *,
        {{ revetl.met_conditions(conditions) }} as condition_numbers
    from wrong

),

broken_rules as (

    select
        numbered.message_type,
        numbered.message_id,
        numbered.event,
        numbered.timestamp,
        numbered.received_at,
        numbered.uuid_ts,
        nullif({{ dbt.concat(['numbered.place', 'rules.path']) }}, '') as property_path,
        rules.rule_name,
        rules.expected,
        {{ revetl.found_value(revetl.plan_value_of_rule(plan)) }} as found,
        rules.action
    from numbered
    inner join rules
        on
            numbered.document_number = rules.document_number
            and numbered.condition_numbers like {{ dbt.concat([
                "'%,'", 'cast(rules.condition_number as ' ~ revetl.type_of('varchar') ~ ')', "',%'"]) }}

),
{%- endmacro %}

{# A row a property that is not planned. #}
{% macro plan_unplanned_properties(plan) -%}
    {% set objects = [] -%}
    {% set names = [] -%}
    {% set cases = [] -%}
    {% for document in plan.documents -%}
        {% for closed in document.closed -%}
            {% do objects.append([
                document.number, closed.number, revetl.text_literal(closed.path),
                revetl.text_literal(revetl.policy_word(plan, closed.action))]) -%}
            {% for name in closed.names -%}
                {% do names.append([closed.number, revetl.text_literal(name)]) -%}
            {% endfor -%}
            {% do cases.append('when ' ~ closed.number ~ ' then case when ' ~ revetl.has_unplanned(document, closed)
                ~ ' then ' ~ revetl.plan_value(document, closed.at) ~ ' end') -%}
        {% endfor -%}
    {% endfor -%}
closed_objects as (

    {{ revetl.listed_rows(['document_number', 'closed_number', 'path', 'action'], objects) }}

),

planned_names as (

    {{ revetl.listed_rows(['closed_number', 'name'], names or [[0, "''"]]) }}

),

open_objects as (

    select
        wrong.message_type,
        wrong.message_id,
        wrong.event,
        wrong.timestamp,
        wrong.received_at,
        wrong.uuid_ts,
        closed_objects.closed_number,
        closed_objects.action,
        {{ dbt.concat(['wrong.place', 'closed_objects.path']) }} as place,
        case closed_objects.closed_number
            {{ cases | join('\n            ') }}
        end as content_text
    from wrong
    inner join closed_objects
        on wrong.document_number = closed_objects.document_number

),

members as (

    select
        open_objects.message_type,
        open_objects.message_id,
        open_objects.event,
        open_objects.timestamp,
        open_objects.received_at,
        open_objects.uuid_ts,
        open_objects.closed_number,
        open_objects.action,
        open_objects.place,
        {{ revetl.json_member_name('member') }} as name,
        {{ revetl.found_value(revetl.json_member_text('open_objects.content_text', 'member')) }} as found
    from open_objects
    {{ revetl.join_json_members('open_objects.content_text', 'member') }}

),

unplanned_properties as (

    select
        members.message_type,
        members.message_id,
        members.event,
        members.timestamp,
        members.received_at,
        members.uuid_ts,
        case
            when replace(replace(replace(members.name, '.', ''), '[', ''), ']', '') <> members.name
                then {{ dbt.concat(['members.place', "'[\"'", 'members.name', "'\"]'"]) }}
            when members.place = '' then members.name
            else {{ dbt.concat(['members.place', "'.'", 'members.name']) }}
        end as property_path,
        'unplanned_property' as rule_name,
        'no such property' as expected,
        members.found,
        members.action
    from members
    left join planned_names
        on
            members.closed_number = planned_names.closed_number
            and members.name = planned_names.name
    where planned_names.name is null

),
{%- endmacro %}
