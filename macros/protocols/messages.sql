{# Every message that a plan says something of, as it was landed and then transformed: a message that was delivered again
   is there again. `document_number` is the plan's own of its properties or traits; null where it is not planned. With `all_types`, every
   message is there; the messages of nothing are none. #}
{% macro planned_messages(plan, all_types=false, transformations=none) -%}
    {% set tables = {
        'track': ('tracks', 'properties', 'event_text', 'int_revetl__sample_tracks'),
        'identify': ('identifies', 'traits', none, 'int_revetl__sample_identifies'),
        'group': ('groups', 'traits', none, 'int_revetl__sample_groups'),
        'page': ('pages', 'properties', none, 'int_revetl__sample_pages'),
        'screen': ('screens', 'properties', none, none),
    } -%}
    {% set selects = [] -%}
    {% for type, (table, content, event, sample) in tables.items() -%}
        {% set own = revetl.override_of('stg_revetl__' ~ table) -%}
        {% set relation = revetl.raw_messages(table, [content] + (['event', event] if event else [])) -%}
        {# What a project has made of its messages is not transformed again. #}
        {% set of_type = [revetl.planned_messages_of(
            plan, type, relation, content, event, none, {'entries': []} if own else transformations)] -%}
        {% if sample and var('sample_events') and not revetl.overrides() -%}
            {% do of_type.append(revetl.planned_messages_of(
                plan, type, ref('revetl', sample), content, event, revetl.nothing_has_landed(), transformations, is_sample=true)) -%}
        {% endif -%}
        {# All tables are named, whatever is planned: the model has them before it in any case. #}
        {% if all_types or revetl.is_planned(plan, type) -%}
            {% do selects.extend(of_type) -%}
        {% endif -%}
    {% endfor -%}
    {{ selects | join('\n    union all\n    ') if selects else revetl.no_messages() }}
{%- endmacro %}

{# Their columns, and none of them. #}
{% macro no_messages() -%}
    {% set types = {
        'message_type': 'varchar', 'message_id': 'varchar', 'event': 'varchar', 'document_number': 'bigint',
        'content': 'json', 'timestamp': 'timestamp', 'received_at': 'timestamp', 'uuid_ts': 'timestamp',
        'source_id': 'varchar',
    } -%}
    select
        {%- for column, type in types.items() %}
        cast(null as {{ revetl.type_of(type) }}) as {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from (select 1 as one) as nothing
    where {{ revetl.never() }}
{%- endmacro %}

{% macro planned_messages_of(plan, type, relation, content, event, condition, transformations, is_sample=false) -%}
    {% set content = revetl.transformed(type, content, is_sample, transformations) -%}
    {% set event = revetl.transformed(type, event, is_sample, transformations) if event else none -%}
    select
        '{{ type }}' as message_type,
        id as message_id,
        {{ event or 'cast(null as ' ~ revetl.type_of('varchar') ~ ')' }} as event,
        {{ revetl.document_number(plan, type, event) }} as document_number,
        {{ content }} as content,
        {{ revetl.message_time() }} as timestamp,
        received_at,
        uuid_ts,
        {{ 'cast(null as ' ~ revetl.type_of('varchar') ~ ') as source_id' if is_sample else 'source_id' }}
    from {{ relation }}
    {%- set conditions = [] -%}
    {% if condition -%}
        {% do conditions.append(condition) -%}
    {% endif -%}
    {% do conditions.append('(timestamp is null or ' ~ revetl.message_time() ~ ' <= ' ~ revetl.as_of() ~ ')') %}
    {{ 'where ' ~ conditions | join(' and ') if conditions }}
{%- endmacro %}

{# The number of the document that a message has by its type and event. #}
{% macro document_number(plan, type, event) -%}
    {% set planned = plan.documents | selectattr('type', 'equalto', type) | selectattr('level', 'equalto', 0) | list -%}
    {% if not planned -%}
    cast(null as {{ revetl.type_of('bigint') }})
    {%- elif not event -%}
    {{ planned[0].number }}
    {%- else -%}
    case {{ event }}
        {%- for document in planned %}
        when {{ revetl.text_literal(document.event) }} then {{ document.number }}
        {%- endfor %}
    end
    {%- endif %}
{%- endmacro %}
