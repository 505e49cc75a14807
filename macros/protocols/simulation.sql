{# The query of what a plan would do to all that has landed: rows of `kind` event (an event of a source: its messages, and
   how many are blocked now, would be blocked, or have something omitted), rule (what its messages break, with the ids of
   some) and reader (a trait or audience that reads the event, in `action`). `source_id` and `event` leave out the others;
   an event is also the name of another type of message. #}
{% macro plan_simulation(plan, transformations, source_id=none, event=none) -%}
    {% set varchar, bigint = revetl.type_of('varchar'), revetl.type_of('bigint') -%}
    {% set columns = {
        'kind': varchar, 'message_type': varchar, 'event': varchar, 'source_id': varchar, 'rule_name': varchar,
        'property_path': varchar, 'action': varchar, 'message_count': bigint, 'blocked_now_count': bigint,
        'blocked_count': bigint, 'omitted_count': bigint, 'sample_1': varchar, 'sample_2': varchar, 'sample_3': varchar,
    } -%}
    {% set conditions = [] -%}
    {% if source_id is not none -%}
        {% do conditions.append('source_id = ' ~ revetl.text_literal(source_id)) -%}
    {% endif -%}
    {% if event is not none -%}
        {% do conditions.append("coalesce(event, message_type) = " ~ revetl.text_literal(event)) -%}
    {% endif -%}
    {% set where = 'where ' ~ conditions | join(' and ') if conditions else '' -%}
with received as (

    select
        message_type,
        message_id,
        max(event) as event,
        max(source_id) as source_id
    from (

{{ revetl.planned_messages(plan, transformations=transformations) }}

    ) as landed
    group by
        message_type,
        message_id

),

chosen as (

    select * from received
    {{ where }}

),

violations as (

    select
        message_type,
        message_id,
        rule_name,
        {{ revetl.replace_matches('property_path', '\\[[0-9]+\\]', '[]') }} as property_path,
        action
    from (

{{ revetl.plan_violations(plan, revetl.planned_messages(plan, transformations=transformations)) }}

    ) as found

),

blocked_now as (

    select
        message_type,
        message_id
    from {{ ref('revetl', 'revetl_tracking_plan_violations') }}
    where action = 'block'
    group by
        message_type,
        message_id

),

judged as (

    select
        message_type,
        message_id,
        max(case when action = 'block' then 1 else 0 end) as is_blocked,
        max(case when action = 'omit' then 1 else 0 end) as is_omitted_from
    from violations
    group by
        message_type,
        message_id

),

events as (

    select
        chosen.message_type,
        chosen.event,
        chosen.source_id,
        count(*) as message_count,
        count(blocked_now.message_id) as blocked_now_count,
        sum(coalesce(judged.is_blocked, 0)) as blocked_count,
        sum(case when judged.is_blocked = 0 then judged.is_omitted_from else 0 end) as omitted_count
    from chosen
    left join judged
        on
            chosen.message_type = judged.message_type
            and chosen.message_id = judged.message_id
    left join blocked_now
        on
            chosen.message_type = blocked_now.message_type
            and chosen.message_id = blocked_now.message_id
    group by
        chosen.message_type,
        chosen.event,
        chosen.source_id

),

broken as (

    select distinct
        chosen.message_type,
        chosen.event,
        chosen.source_id,
        violations.rule_name,
        violations.property_path,
        violations.action,
        violations.message_id
    from violations
    inner join chosen
        on
            violations.message_type = chosen.message_type
            and violations.message_id = chosen.message_id

),

numbered as (

    select
        *,
        row_number() over (
            partition by message_type, event, source_id, rule_name, property_path, action
            order by message_id
        ) as place
    from broken

),

rules as (

    select
        message_type,
        event,
        source_id,
        rule_name,
        property_path,
        action,
        count(*) as message_count,
        {%- for place in [1, 2, 3] %}
        max(case when place = {{ place }} then message_id end) as sample_{{ place }}{{ ',' if not loop.last }}
        {%- endfor %}
    from numbered
    group by
        message_type,
        event,
        source_id,
        rule_name,
        property_path,
        action

),

    {% set selects = {
        'event': ('events', ['message_type', 'event', 'source_id', 'message_count', 'blocked_now_count', 'blocked_count', 'omitted_count']),
        'rule': ('rules', ['message_type', 'event', 'source_id', 'rule_name', 'property_path', 'action', 'message_count',
            'sample_1', 'sample_2', 'sample_3']),
    } -%}
simulated as (

    {% for kind, (relation, names) in selects.items() -%}
    select
        {%- for column, type in columns.items() %}
        {{ "cast('" ~ kind ~ "' as " ~ type ~ ')' if column == 'kind' else column if column in names else 'cast(null as ' ~ type ~ ')' }} as {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ relation }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
    {%- for reader in revetl.readers_of_events(plan.events) %}
    union all
    select
        {%- for column, type in columns.items() %}
        cast({{ revetl.text_literal(reader[column]) if column in reader else 'null' }} as {{ type }}) as {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    {%- endfor %}

)

select * from simulated
{%- endmacro %}

{# The traits that read events by their declarations, and the audiences whose SQL names one of these events or traits:
   `kind` reader, `event`, and the reader in `action`. What reads an event by another model is not seen. #}
{% macro readers_of_events(events) -%}
    {% set found = [] -%}
    {% set declared = {} -%}
    {% for variable in ['order_traits', 'traits'] -%}
        {% do declared.update(var(variable, none) or {}) -%}
    {% endfor -%}
    {% for event in events -%}
        {% set traits = [] -%}
        {% for name, trait in declared.items() if trait is mapping -%}
            {% set named = [trait.event] if trait.event is string else (trait.event or []) | list -%}
            {% for step in trait.steps or [] -%}
                {% set of_step = step.event if step is mapping else step -%}
                {% do named.extend([of_step] if of_step is string else of_step or []) -%}
            {% endfor -%}
            {% if event in named or (trait.sql is string and traits
                    and modules.re.search('\\b(' ~ traits | join('|') ~ ')\\b', trait.sql)) -%}
                {% do traits.append(name) -%}
            {% endif -%}
        {% endfor -%}
        {% for name in traits -%}
            {% do found.append({'kind': 'reader', 'event': event, 'action': 'trait ' ~ name}) -%}
        {% endfor -%}
        {% for node in (graph.get('nodes', {}).values() if execute else []) if node.resource_type == 'model' and node.config.meta.get('revetl') is mapping -%}
            {% set code = node.raw_code or '' -%}
            {% if "'" ~ event ~ "'" in code or '"' ~ event ~ '"' in code
                    or (traits and modules.re.search('\\b(' ~ traits | join('|') ~ ')\\b', code)) -%}
                {% do found.append({'kind': 'reader', 'event': event, 'action': 'audience ' ~ node.name}) -%}
            {% endif -%}
        {% endfor -%}
    {% endfor -%}
    {{ return(found) }}
{%- endmacro %}
