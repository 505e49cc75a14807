{# Traits that one aggregate of events cannot make, each a pass of its own over the events: CTEs, of which the last,
   `NAME_people`, has the key and the `value`. #}

{# The value that is there most often, and at least `minimum` times; of equals, the first by the alphabet. #}
{% macro most_frequent_query(trait, key) %}
    {% set rows = trait.value.name ~ '_elements' if trait.value.element else 'events' %}
    {% set value = rows ~ '.' ~ (trait.value.element or trait.value).name %}
{{ trait.name }}_counts as (

    select
        {{ key }},
        {{ value }} as value,
        count(*) as times
    from {{ rows }}
    where {{ value }} is not null and {{ revetl.trait_filter(trait, rows) }}
    group by
        {{ key }},
        {{ value }}

),

{{ trait.name }}_ranked as (

    select
        {{ key }},
        value,
        row_number() over (
            partition by {{ key }}
            order by
                times desc,
                {{ revetl.by_code_point('value') }}
        ) as place
    from {{ trait.name }}_counts
    where times >= {{ trait.minimum }}

),

{{ trait.name }}_people as (

    select
        {{ key }},
        {{ revetl.trait_cast(trait, 'value', 'text') }} as value
    from {{ trait.name }}_ranked
    where place = 1

)
{% endmacro %}

{# How many steps somebody has taken in their order, the whole within some time of its first step. Of the ways to have
   come to a step, the one that began last is the one that has most time left, so that one is kept. #}
{% macro funnel_query(trait, key) %}
    {% set ordered = 'partition by ' ~ key ~ ' order by timestamp, message_id rows between unbounded preceding and 1 preceding' %}
    {% for step in trait.steps %}
        {% set number = loop.index %}
{{ trait.name }}_step_{{ number }} as (

    select
        reached.*,
        case
            when {{ revetl.trait_filter({'events': step.events, 'conditions': step.conditions, 'source': trait.source,
                'window': trait.window}, 'reached') }}
                {%- if number == 1 %}
                then reached.timestamp
                {%- else %}
                {%- if trait.within_hours %}
                and reached.began_before_{{ number }} >= {{ revetl.hours_before('reached.timestamp', trait.within_hours) }}
                {%- endif %}
                then reached.began_before_{{ number }}
                {%- endif %}
        end as began_{{ number }}
    from
        {%- if number == 1 %}
        events as reached
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
        ) as value
    from {{ trait.name }}_step_{{ trait.steps | length }}
    group by {{ key }}

)
{% endmacro %}
