{# Messages and the elements of their arrays: a row a document, with where it is in its message. #}
{% macro plan_documents(plan) -%}
    {% set levels = plan.documents | map(attribute='level') | max -%}
level_0 as{{ revetl.read_anew() }} (

    select
        message_type,
        message_id,
        event,
        timestamp,
        received_at,
        uuid_ts,
        document_number,
        '' as place,
        content
    from messages
    where document_number is not null

),
    {% for level in range(levels) %}
        {% set holders = plan.documents | selectattr('level', 'equalto', level) | selectattr('arrays') | list %}
arrays_{{ level }} as{{ revetl.read_anew() }} (

        {%- for slot in range(holders | map(attribute='arrays') | map('length') | max) %}
    {{ revetl.plan_arrays(level, holders, slot) }}
        {%- if not loop.last %}
    union all
        {%- endif %}
        {%- endfor %}

),

elements_{{ level }} as{{ revetl.read_anew() }} (

    {{ revetl.elements_of('arrays_' ~ level) }}

),

level_{{ level + 1 }} as{{ revetl.read_anew() }} (

    select
        message_type,
        message_id,
        event,
        timestamp,
        received_at,
        uuid_ts,
        document_number,
        {{ dbt.concat(['place', "'['", 'cast(element_place as ' ~ revetl.type_of('varchar') ~ ')', "']'"]) }} as place,
        content
    from elements_{{ level }}

),
    {% endfor %}

documents as{{ revetl.read_anew() }} (

    {% for level in range(levels + 1) -%}
    select * from level_{{ level }}
    {%- if not loop.last %}
    union all
    {% endif -%}
    {% endfor %}

),
{%- endmacro %}

{# An array of each document of a level: its first, or another one. #}
{% macro plan_arrays(level, holders, slot) -%}
    {% set numbers = [] -%}
    {% set cases = {'element': [], 'path': [], 'elements': []} -%}
    {% for document in holders if document.arrays | length > slot -%}
        {% set array = document.arrays[slot] -%}
        {% set when = 'when ' ~ document.number ~ ' then ' -%}
        {% do numbers.append(document.number) -%}
        {% do cases.element.append(when ~ array.element) -%}
        {% do cases.path.append(when ~ revetl.text_literal(array.path)) -%}
        {% do cases.elements.append(when ~ revetl.plan_array('content', array.names)) -%}
    {% endfor -%}
    select
        message_type,
        message_id,
        event,
        timestamp,
        received_at,
        uuid_ts,
        case document_number {{ cases.element | join(' ') }} end as document_number,
        {{ dbt.concat(['place', 'case document_number ' ~ cases.path | join(' ') ~ ' end']) }} as place,
        case document_number {{ cases.elements | join(' ') }} end as elements
    from level_{{ level }}
    where document_number in ({{ numbers | join(', ') }})
{%- endmacro %}
