{# How many steps somebody has taken in their order: CTEs over the events, of which the last, `NAME_people`, has the key of
   those who have taken the first, and a column of the trait's name. #}
{% macro funnel_query(trait, key) %}
    {{ revetl.funnel_in_time(trait, key) if trait.within_hours else revetl.funnel_at_any_time(trait, key) }}
{% endmacro %}

{# Whether an event is one of a step. #}
{% macro step_filter(trait, step, rows) %}
    {{ return(revetl.trait_filter({'events': step.events, 'conditions': step.conditions, 'source': trait.source,
        'window': trait.window}, rows)) }}
{% endmacro %}

{# However long it took, each step is best taken as soon as it can be: at its first event after the one before. So a step
   is an aggregate of its own events; the order of them all is asked of nobody. #}
{% macro funnel_at_any_time(trait, key) %}
    {% for step in trait.steps %}
        {% set number = loop.index %}
{{ trait.name }}_step_{{ number }} as (

    select
        {%- if not loop.last %}
        min(reached.timestamp) as reached_at,
        {{ revetl.first_value_by('reached.message_id', 'reached.timestamp', 'reached.message_id') | trim }} as reached_by,
        {%- endif %}
        reached.{{ key }}
    from events as reached
        {%- if number > 1 %}
    inner join {{ trait.name }}_step_{{ number - 1 }} as earlier
        on
            reached.{{ key }} = earlier.{{ key }}
            and (
                reached.timestamp > earlier.reached_at
                or (
                    reached.timestamp = earlier.reached_at
                    and {{ revetl.by_code_point('reached.message_id') }} > earlier.reached_by
                )
            )
        {%- endif %}
    where {{ revetl.step_filter(trait, step, 'reached') }}
    group by reached.{{ key }}

),

    {% endfor %}
{{ trait.name }}_people as (

    select
        {{ trait.name }}_step_1.{{ key }},
        case
            {%- for number in range(trait.steps | length, 1, -1) %}
            when {{ trait.name }}_step_{{ number }}.{{ key }} is not null then {{ number }}
            {%- endfor %}
            else 1
        end as {{ trait.name }}
    from {{ trait.name }}_step_1
    {%- for number in range(2, trait.steps | length + 1) %}
    left join {{ trait.name }}_step_{{ number }}
        on {{ trait.name }}_step_1.{{ key }} = {{ trait.name }}_step_{{ number }}.{{ key }}
    {%- endfor %}

)
{% endmacro %}

{# The whole within some time of its first step. Of the ways to have come to a step, the one that began last is the one that
   has most time left, so that one is kept. #}
{% macro funnel_in_time(trait, key) %}
    {% set ordered = 'partition by ' ~ key ~ ' order by timestamp, ' ~ revetl.by_code_point('message_id') | trim
        ~ ' rows between unbounded preceding and 1 preceding' %}
    {% set filters = [] %}
    {% for step in trait.steps %}
        {% do filters.append(revetl.step_filter(trait, step, 'events')) %}
    {% endfor %}
{{ trait.name }}_events as (

    select
        events.{{ key }},
        events.message_id,
        events.timestamp
        {%- for filter in filters %},
        case when {{ filter }} then 1 end as is_{{ loop.index }}
        {%- endfor %}
    from events
    where
        {%- for filter in filters | unique %}
        {{ 'or ' if not loop.first }}({{ filter }})
        {%- endfor %}

),

    {% for step in trait.steps %}
        {% set number = loop.index %}
{{ trait.name }}_step_{{ number }} as (

    select
        reached.*,
        case
            when
                reached.is_{{ number }} = 1
                {%- if number == 1 %}
                then reached.timestamp
                {%- else %}
                and reached.began_before_{{ number }} >= {{ revetl.hours_before('reached.timestamp', trait.within_hours) }}
                then reached.began_before_{{ number }}
                {%- endif %}
        end as began_{{ number }}
    from
        {%- if number == 1 %}
        {{ trait.name }}_events as reached
        {%- else %}
        (
            select
                {{ trait.name }}_step_{{ number - 1 }}.*,
                max(began_{{ number - 1 }}) over ({{ ordered }}) as began_before_{{ number }}
            from {{ trait.name }}_step_{{ number - 1 }}
        ) as reached
        {%- endif %}

),

    {% endfor %}
{{ trait.name }}_people as (

    select
        {{ key }},
        max(
            case
                {%- for step in trait.steps | reverse %}
                when began_{{ loop.revindex }} is not null then {{ loop.revindex }}
                {%- endfor %}
                else 0
            end
        ) as {{ trait.name }}
    from {{ trait.name }}_step_{{ trait.steps | length }}
    group by {{ key }}

)
{% endmacro %}
